// The connection to the server: it is kept, found again with growing patience, and it says how it stands.

import { protocols, renew } from "./api.js";

const FIRST_MS = 500;
const LONGEST_MS = 15000;

/** Calls `on(message)` for every message and `state(word)` with "live" or "gone". */
export function connect(path, on, state) {
  let patience = FIRST_MS;
  let socket;
  let timer;

  function open() {
    clearTimeout(timer);
    const address = new URL(path, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    socket = new WebSocket(address, protocols());
    socket.onmessage = (event) => {
      patience = FIRST_MS;
      state("live");
      on(JSON.parse(event.data));
    };
    socket.onclose = () => {
      state("gone");
      const wait = patience * (0.75 + Math.random() / 2);
      timer = setTimeout(() => renew().catch(() => {}).then(open), wait);
      patience = Math.min(LONGEST_MS, patience * 2);
    };
  }

  function again() {
    if (socket.readyState === WebSocket.CLOSED) open();
  }

  addEventListener("online", again);
  document.addEventListener("visibilitychange", () => document.hidden || again());
  open();
}
