// Texts in, how much they mean the same out: a table of cosines, the warmer the more alike.

import { ask, say } from "./api.js";
import { make } from "./dom.js";
import { choices } from "./settings.js";
import { energy, joules } from "./stream.js";

const form = document.getElementById("embed");
const place = document.getElementById("alike");

export function prepare(models) {
  form.elements.model.replaceChildren(...choices(models.filter((model) => model.capabilities.includes("embedding"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    embed();
  });
}

async function embed() {
  const texts = form.elements.texts.value.split("\n").map((text) => text.trim()).filter(Boolean);
  if (!texts.length) return;
  const began = performance.now();
  try {
    const answer = await ask("/api/embed", { body: { model: form.elements.model.value, input: texts } });
    const found = await answer.json();
    const ms = Math.round(performance.now() - began);
    const device = answer.headers.get("x-npu-proxy-execution-device") ?? "unknown";
    const cost = joules(energy(answer.headers));
    const facts = `${texts.length} texts · ${found.prompt_eval_count ?? 0} tokens · ${found.embeddings[0].length} numbers each · ${ms} ms · ran on ${device} · energy ${cost}`;
    place.replaceChildren(make("p", { class: "quiet" }, facts), table(texts, found.embeddings));
  } catch (error) {
    say(error.message, true);
  }
}

function table(texts, vectors) {
  const numbers = texts.map((text, index) => make("th", { scope: "col", title: text }, String(index + 1)));
  const rows = texts.map((text, row) => {
    const cells = vectors.map((vector) => cell(cosine(vectors[row], vector)));
    return make("tr", {}, make("th", { scope: "row" }, `${row + 1}. ${text}`), ...cells);
  });
  const head = make("thead", {}, make("tr", {}, make("td"), ...numbers));
  const caption = make("caption", {}, "Cosine of each pair");
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Similarities" }, make("table", { class: "heat" }, caption, head, make("tbody", {}, ...rows)));
}

function cell(value) {
  const made = make("td", {}, value.toFixed(2));
  made.style.setProperty("--heat", `${Math.round(Math.max(0, value) * 45)}%`);
  return made;
}

function cosine(one, other) {
  const dot = one.reduce((sum, value, index) => sum + value * other[index], 0);
  return dot / (Math.hypot(...one) * Math.hypot(...other) || 1);
}
