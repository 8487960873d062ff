// The conversations of this browser: they stay in it, and go when they are deleted.
//
// A conversation: {id, title, at, messages}; a message: {role, content, thinking?, tool_calls?, tool_name?, images?,
// facts?, sent?}. `sent` is the request that an answer came of, for its program text.

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

/** False where the browser has no room: what is on the screen stays, and is not kept. */
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

function write() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(all));
    return true;
  } catch {
    return false;
  }
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
