// How the pages ask this server: its own API, with the key of the sign-in where there is one.

const RENEW_MS = 20 * 60 * 1000;

let key = document.body.dataset.key ?? "";
if (key) setInterval(renew, RENEW_MS);

/** The next key of the sign-in; without one the page asks for it. */
export async function renew() {
  if (!key) return;
  const answer = await fetch("/login/key", { cache: "no-store" });
  if (answer.status === 401) location.reload();
  else if (answer.ok) key = (await answer.json()).key;
}

/** A request of the API; throws an Error with the server's words. */
export async function ask(path, { method = "POST", body, headers = {}, signal } = {}) {
  const answer = await fetch(path, {
    method,
    headers: { Accept: "application/json", ...(key && { "X-API-Key": key }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    signal,
  });
  if (!answer.ok) throw new Error(await words(answer));
  return answer;
}

async function words(answer) {
  const text = await answer.text();
  try {
    const told = JSON.parse(text).error;
    return told.message ?? told;
  } catch {
    return text || `the server answered ${answer.status}`;
  }
}

/** Subprotocols for a WebSocket: the only place where a browser can give it a key. */
export function protocols() {
  return key ? ["npuproxy", `bearer.${key}`] : [];
}

let fading;

/** A line for everybody, screen readers included. */
export function say(text, bad = false) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.classList.toggle("bad", bad);
  clearTimeout(fading);
  fading = setTimeout(() => (place.textContent = ""), bad ? 12000 : 5000);
}
