// The form that finds models on the hub and pulls them; how a pull goes is in the rows that the server sends.

import { ask, say } from "./api.js";

const form = document.getElementById("pull");
const hits = document.getElementById("hits");

export function pulls() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    if (event.submitter?.value === "pull" && name) pull(name);
    else search(name);
  });
}

/** The server goes on by itself: the answer's first lines say whether it has begun. */
export async function pull(name) {
  const left = new AbortController();
  try {
    const answer = await ask("/api/pull", { body: { model: name }, signal: left.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let lines = []; lines.length < 2; lines = text.trim().split("\n")) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    const last = JSON.parse(text.trim().split("\n").at(-1));
    if (last.error) throw new Error(last.error);
    say(`pulling ${name}`);
    hits.replaceChildren();
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  } finally {
    left.abort();
  }
}

async function search(query) {
  try {
    const answer = await ask(`/api/search?${new URLSearchParams({ q: query, limit: 12 })}`, { method: "GET" });
    const { models } = await answer.json();
    hits.replaceChildren(...models.map(hit));
    if (!models.length) say(`nothing on the hub for “${query}”`, true);
  } catch (error) {
    say(error.message, true);
  }
}

function hit(model) {
  const row = document.createElement("li");
  const about = document.createElement("div");
  const facts = [model.type, model.parameters, model.quantization, model.license, model.gated ? "gated" : ""];
  about.append(line("strong", model.id), line("p", facts.filter(Boolean).join(" · ")));
  const button = line("button", model.installed ? "Pull again" : "Pull");
  button.type = "button";
  button.setAttribute("aria-label", `${button.textContent} ${model.id}`);
  button.addEventListener("click", () => pull(model.id));
  row.append(about, button);
  return row;
}

function line(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
