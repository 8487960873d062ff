// What the form beside a chat says, as a request of /api/chat: its body without messages, and its headers.

import { ask } from "./api.js";
import { make } from "./dom.js";

const PLACE = "npuproxy.settings";
const form = document.getElementById("settings");
const NUMBERS = ["temperature", "top_p", "top_k", "num_predict", "seed"];

let models = [];

/** Fills the list of models; `wanted` is chosen where it is there. */
export async function prepare(wanted) {
  restore();
  models = (await (await ask("/api/tags", { method: "GET" })).json()).models;
  const chats = models.filter((model) => model.capabilities.includes("completion"));
  const list = form.elements.model;
  const before = wanted || list.dataset.wanted;
  list.replaceChildren(...choices(chats));
  if (chats.some((model) => model.name === before)) list.value = before;
  form.addEventListener("change", changed);
  changed();
  return models;
}

/** Options of a list: the models that are here, then those of each other server under its name. */
export function choices(shown) {
  const options = (models) => models.map((model) => new Option(model.name, model.name));
  const here = options(shown.filter((model) => !model.remote_host));
  const servers = [...new Set(shown.map((model) => model.remote_host).filter(Boolean))];
  const away = servers.map((name) => {
    const theirs = options(shown.filter((model) => model.remote_host === name));
    return make("optgroup", { label: `On ${name}` }, ...theirs);
  });
  return [...here, ...away];
}

export function can(capability) {
  return models.find((model) => model.name === form.elements.model.value)?.capabilities.includes(capability) ?? false;
}

function changed() {
  for (const element of form.querySelectorAll("[data-needs]")) element.hidden = !can(element.dataset.needs);
  for (const element of document.querySelectorAll("#chat [data-needs]")) element.hidden = !can(element.dataset.needs);
  form.elements.schema.closest("label").hidden = form.elements.format.value !== "schema";
  const kept = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  localStorage.setItem(PLACE, JSON.stringify(kept));
}

function restore() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(PLACE) ?? "{}");
  } catch {
    // another version wrote it
  }
  for (const [name, value] of Object.entries(kept)) {
    const field = form.elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = true;
    else field.value = value;
  }
  form.elements.model.dataset.wanted = kept.model ?? "";
}

/** {body, headers}. Throws an Error that names the field that cannot be read. */
export function request() {
  const field = (name) => form.elements[name].value.trim();
  const body = { model: field("model"), messages: [] };
  const options = {};
  for (const name of NUMBERS) if (field(name)) options[name] = Number(field(name));
  if (Object.keys(options).length) body.options = options;
  if (can("thinking") && field("think")) body.think = field("think") === "on";
  if (field("format") === "json") body.format = "json";
  if (field("format") === "schema" && field("schema")) body.format = json("JSON schema", field("schema"));
  if (can("tools") && field("tools")) body.tools = tools(json("Tools", field("tools")));
  const headers = {};
  if (field("device")) headers["X-NPU-Proxy-Device"] = field("device");
  if (field("device") && form.elements.strict.checked) headers["X-Target-Strict"] = "true";
  if (form.elements.here?.checked) headers["X-Remote-Allowed"] = "false";
  if (field("priority")) headers["X-Priority"] = field("priority");
  return { body, headers, system: field("system") };
}

function json(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name}: ${error.message}`);
  }
}

/** One or several, bare functions or as the APIs have them. */
function tools(given) {
  const all = Array.isArray(given) ? given : [given];
  return all.map((one) => (one.function ? one : { type: "function", function: one }));
}
