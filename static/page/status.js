// The status page while a script runs: live, and with buttons.

import { ask, say } from "./api.js";
import { sure } from "./asking.js";
import { take } from "./lines.js";
import { connect } from "./live.js";
import { pull, pulls } from "./pulls.js";
import { tick, update } from "./rows.js";

const link = document.getElementById("link");
const words = { live: "live", gone: "not connected" };
let ahead = 0; // of the server's clock before this machine's

function show(message) {
  ahead = message.time - Date.now() / 1000;
  for (const [name, section] of Object.entries(message.whole ?? message.changed ?? {})) {
    const list = document.querySelector(`[data-rows="${name}"]`);
    if (list) update(list, section);
  }
  take(message.samples, Boolean(message.whole));
  tick(Date.now() / 1000 + ahead);
}

function state(word) {
  link.dataset.state = word;
  document.body.classList.toggle("gone", word === "gone");
  const place = document.getElementById("link-words");
  if (place.textContent !== words[word]) place.textContent = words[word];
}

const ACTS = {
  load: (name) => [`loading ${name}`, "/api/generate", { body: { model: name } }],
  unload: (name) => [`unloading ${name}`, "/api/generate", { body: { model: name, keep_alive: 0 } }],
  cancel: (id) => [`stopping ${id}`, "/api/requests", { method: "DELETE", body: { id } }],
  end: (name) => [`cancelling ${name}`, "/api/pull", { method: "DELETE", body: { model: name } }],
};
const QUESTIONS = {
  end: (name) => [`Cancel the pull of ${name}? What has arrived is removed.`, "Cancel the pull"],
};

async function act(button) {
  const { act: name } = button.dataset;
  const value = button.value;
  if (name === "again") return pull(value);
  if (QUESTIONS[name] && !(await sure(...QUESTIONS[name](value)))) return;
  const [doing, path, how] = ACTS[name](value);
  button.disabled = true;
  say(doing);
  try {
    await ask(path, how);
    say("");
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
}

async function choose(event) {
  try {
    const chosen = await (await ask("/efficiency", { body: { mode: event.target.value } })).json();
    say(`mode ${chosen.mode}`);
  } catch (error) {
    say(error.message, true);
  } finally {
    event.target.blur(); // from here on it follows the server again
  }
}

document.documentElement.classList.add("scripted");
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) act(button);
});
document.getElementById("mode").addEventListener("change", choose);
pulls();
connect("/status/ws", show, state);
setInterval(() => tick(Date.now() / 1000 + ahead), 1000);
