// The conversation on the screen: what is asked, what comes, and what can be done with it.

import { say } from "./api.js";
import { sure } from "./asking.js";
import * as store from "./conversations.js";
import { button, make } from "./dom.js";
import * as pictures from "./images.js";
import { view } from "./messages.js";
import { can, request } from "./settings.js";
import { chat } from "./stream.js";

const log = document.getElementById("log");
const form = document.getElementById("ask");
const list = document.getElementById("conversations");
const stop = document.getElementById("stop");
const send = document.getElementById("send");

let current = store.fresh();
let running = null;

export function start() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    question();
  });
  form.elements.text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) question();
  });
  pictures.prepare(form);
  stop.addEventListener("click", () => running?.abort());
  document.getElementById("new").addEventListener("click", () => open(store.fresh()));
  open(store.conversations()[0] ?? current);
}

function open(conversation) {
  running?.abort();
  current = conversation;
  drawAll();
  form.elements.text.focus({ preventScroll: true });
}

function drawAll() {
  const last = current.messages.length - 1;
  log.replaceChildren(...current.messages.map((message, index) => view(message, acts(index === last && !message.busy))));
  document.getElementById("empty").hidden = current.messages.length > 0;
  list.replaceChildren(...store.conversations().map(entry));
  log.scrollTop = log.scrollHeight;
}

function acts(isLast) {
  return isLast ? { regenerate, result } : {};
}

function entry(conversation) {
  const here = conversation.id === current.id;
  const opens = button(conversation.title, () => open(conversation), { class: "title", "aria-current": here ? "true" : null });
  const saves = button("↓", () => store.download(conversation), { "aria-label": `Export “${conversation.title}”` });
  const goes = button("×", () => drop(conversation), { "aria-label": `Delete “${conversation.title}”` });
  return make("li", {}, opens, saves, goes);
}

async function drop(conversation) {
  if (!(await sure(`Delete “${conversation.title}”? It is nowhere else.`, "Delete it"))) return;
  store.remove(conversation);
  if (conversation.id === current.id) open(store.conversations()[0] ?? store.fresh());
  else drawAll();
}

function question() {
  const text = form.elements.text.value.trim();
  if (running) return;
  const images = can("vision") ? pictures.take() : [];
  if (!text && !images.length) return;
  current.messages.push({ role: "user", content: text, ...(images.length && { images }) });
  form.reset();
  answer();
}

function regenerate() {
  while (current.messages.at(-1)?.role === "assistant") current.messages.pop();
  answer();
}

function result(name, content) {
  current.messages.push({ role: "tool", tool_name: name, content });
  answer();
}

async function answer() {
  const conversation = current;
  let sent;
  try {
    sent = prepared(conversation);
  } catch (error) {
    say(error.message, true);
    drawAll();
    return;
  }
  const message = { role: "assistant", content: "", sent, busy: true };
  conversation.messages.push(message);
  drawAll();
  running = new AbortController();
  working(true);
  try {
    await chat(sent, running.signal, (part, facts) => take(message, part, facts));
  } catch (error) {
    message.fault = error.name === "AbortError" ? "stopped" : error.message;
  } finally {
    delete message.busy;
    running = null;
    working(false);
    const lost = store.keep(conversation);
    if (lost) say(lost, true);
    if (conversation === current) drawAll();
  }
}

function prepared(conversation) {
  const { body, headers, system } = request();
  const messages = conversation.messages
    .filter((message) => !message.fault || message.content)
    .map(({ role, content, tool_calls, tool_name, images }) => ({
      role, content, ...(tool_calls && { tool_calls }), ...(tool_name && { tool_name }), ...(images && { images }),
    }));
  body.messages = system ? [{ role: "system", content: system }, ...messages] : messages;
  return { body, headers };
}

function take(message, part, facts) {
  message.facts = facts;
  const said = part.message ?? {};
  message.content += said.content ?? "";
  if (said.thinking) message.thinking = (message.thinking ?? "") + said.thinking;
  if (said.tool_calls) message.tool_calls = [...(message.tool_calls ?? []), ...said.tool_calls];
  soon(message);
}

let drawing = false;

/** Once a frame, however many tokens came. */
function soon(message) {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    if (current.messages.at(-1) === message) log.lastElementChild?.refresh?.();
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
}

function working(is) {
  stop.hidden = !is;
  send.hidden = is;
}
