// A message on the screen. Its text is a model's or a user's: it becomes text and elements, never markup.

import { say } from "./api.js";
import { button, make } from "./dom.js";
import { picture } from "./images.js";
import { markdown } from "./markdown.js";
import { snippets } from "./snippets.js";
import { shown } from "./stream.js";

const WHO = { user: "You", system: "System", tool: "Tool" };

/** An article for `message`; `acts`: {regenerate?, result?}. */
export function view(message, acts = {}) {
  const article = make("article", { class: `message ${message.role}` });
  const model = message.sent?.body.model ?? "Model";
  article.append(make("h3", {}, WHO[message.role] ?? model, message.tool_name ? ` ${message.tool_name}` : ""));
  if (message.images?.length) article.append(pictures(message.images));
  if (message.role === "assistant") answer(article, message, acts);
  else article.append(make("div", { class: "text plain-text" }, message.content));
  return article;
}

function pictures(images) {
  return make("div", { class: "pictures" }, ...images.map((data) => picture(data, "sent with the message")));
}

function answer(article, message, acts) {
  const thoughts = make("details", { class: "thoughts" }, make("summary", {}, "Thoughts"), make("div"));
  const text = make("div", { class: "text" });
  const calls = make("div", { class: "calls" });
  const fault = make("p", { class: "bad" });
  const facts = make("dl", { class: "facts" });
  const foot = make("div", { class: "foot" });
  article.append(thoughts, text, calls, fault, facts, foot);
  article.refresh = () => {
    thoughts.hidden = !message.thinking;
    if (message.thinking) thoughts.lastElementChild.textContent = message.thinking;
    text.replaceChildren(...markdown(message.content));
    calls.replaceChildren(...(message.tool_calls ?? []).map((call) => callView(call, message, acts)));
    fault.textContent = message.fault ?? "";
    fault.hidden = !message.fault;
    const told = message.facts ? shown(message.facts) : [];
    facts.replaceChildren(...told.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    article.toggleAttribute("aria-busy", Boolean(message.busy));
    foot.replaceChildren(...(message.busy ? [make("span", { class: "quiet" }, "…")] : ends(message, acts)));
  };
  article.refresh();
}

function ends(message, acts) {
  const made = [button("Copy", () => copy(message.content))];
  if (acts.regenerate) made.push(button("Regenerate", acts.regenerate));
  if (message.sent) made.push(programs(message.sent));
  return made;
}

function callView(call, message, acts) {
  const { name, arguments: given } = call.function;
  const box = make("div", { class: "call" }, make("strong", {}, name), make("pre", { tabindex: "0" }, make("code", {}, JSON.stringify(given, null, 2))));
  if (!acts.result || message.busy) return box;
  const field = make("textarea", { rows: 2, "aria-label": `Result of ${name}`, placeholder: "What the tool gives back" });
  const form = make("form", { class: "result" }, field, make("button", { type: "submit" }, "Send result"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    acts.result(name, field.value);
  });
  box.append(form);
  return box;
}

function programs(sent) {
  const all = snippets(sent);
  const code = make("code");
  const choose = make("select", { "aria-label": "Language" }, ...Object.keys(all).map((name) => make("option", {}, name)));
  const show = () => (code.textContent = all[choose.value]);
  choose.addEventListener("change", show);
  show();
  const bar = make("div", { class: "bar" }, choose, button("Copy code", () => copy(code.textContent)));
  const box = make("details", { class: "programs" }, make("summary", {}, "Code"), bar, make("pre", { tabindex: "0" }, code));
  box.addEventListener("toggle", () => box.open && box.scrollIntoView({ block: "nearest" }));
  return box;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without TLS there is no clipboard for pages; the old way still works
    const field = make("textarea", { class: "away" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say("copied");
}
