// The playground: a chat and a tab for embeddings.

import { say } from "./api.js";
import { start } from "./chat.js";
import * as embeddings from "./embeddings.js";
import { prepare } from "./settings.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", chosen);
    one.tabIndex = chosen ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
  }
}

function arrow(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  choose(next);
  next.focus();
}

document.documentElement.classList.add("scripted");
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", arrow);
}
start();
try {
  embeddings.prepare(await prepare(new URLSearchParams(location.search).get("model")));
  document.body.dataset.ready = "true";
} catch (error) {
  say(error.message, true);
}
