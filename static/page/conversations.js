// The conversations of this browser: they stay in it, and go when they are deleted.
//
// A conversation: {id, title, at, messages}; a message: {role, content, thinking?, tool_calls?, tool_name?, images?,
// facts?, sent?}. `sent` is the request that an answer came of, for its program text.

import { shortened } from "./snippets.js";

const PLACE = "npuproxy.conversations";
const MOST = 100;

let all = read();

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => one && Array.isArray(one.messages)) : [];
  } catch {
    return [];
  }
}

export function conversations() {
  return all;
}

export function fresh() {
  return { id: crypto.getRandomValues(new Uint32Array(2)).join(""), title: "", at: Date.now(), messages: [] };
}

/** Words where the browser has no room for all of it: what is on the screen stays, and is not kept; '' where it has. */
export function keep(conversation) {
  conversation.at = Date.now();
  const first = conversation.messages.find((message) => message.role === "user");
  conversation.title = (first?.content ?? "").slice(0, 60) || "Images";
  all = [conversation, ...all.filter((one) => one.id !== conversation.id)].slice(0, MOST);
  return write();
}

export function remove(conversation) {
  all = all.filter((one) => one.id !== conversation.id);
  write();
}

/** A request's own copy of the images is never kept; those of the messages go before the texts do. */
function write() {
  const kept = [[withImages, ""], [withoutImages, "this browser has no room for the images: the texts are kept"]];
  for (const [part, words] of kept) {
    try {
      localStorage.setItem(PLACE, JSON.stringify(all.map((one) => ({ ...one, messages: one.messages.map(part) }))));
      return words;
    } catch {
      // the quota
    }
  }
  return "this browser has no room for the conversation: it is not kept";
}

function withImages(message) {
  return message.sent ? { ...message, sent: { ...message.sent, body: shortened(message.sent.body) } } : message;
}

function withoutImages({ images, ...message }) {
  return withImages(message);
}

/** As a file of the browser's own. */
export function download(conversation) {
  const file = new Blob([JSON.stringify(conversation, null, 2)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `conversation-${conversation.id}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
