// One answer of /api/chat as it comes.

import { ask } from "./api.js";

/** Calls `on(part, facts)` for each line of the stream, and once more when its energy is known.
 *  Throws what the server says is wrong. */
export async function chat({ body, headers }, signal, on) {
  const began = performance.now();
  const answer = await ask("/api/chat", { body: { ...body, stream: true }, headers, signal });
  const facts = { ...route(answer.headers), ttft_s: null };
  on({}, facts);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const part = JSON.parse(line);
      if (part.error) throw new Error(part.error);
      facts.ttft_s ??= (performance.now() - began) / 1000;
      if (part.done) end(facts, part);
      on(part, facts);
    }
  }
  if (!facts.done) throw new Error("the connection ended before the answer did");
  facts.energy = await spent(facts.id);
  on({}, facts);
}

/** {j, source} of a request that has ended; unknown where nobody can tell. */
async function spent(id) {
  try {
    const told = await (await ask(`/playground/energy?${new URLSearchParams({ id })}`, { method: "GET" })).json();
    return { j: told.energy_j, source: told.energy_source };
  } catch {
    return { j: null, source: "unknown" };
  }
}

/** The same from the headers of a whole answer. */
export function energy(headers) {
  const j = headers.get("x-npu-proxy-energy-j");
  return { j: j === null ? null : Number(j), source: headers.get("x-npu-proxy-energy-source") ?? "unknown" };
}

/** In words; for `tokens` of them, where that is known, by the token too. */
export function joules({ j, source }, tokens = 0) {
  if (j === null) return "unknown";
  const figure = (value) => (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : String(Number(value.toPrecision(2))));
  const each = tokens ? `${figure(j / tokens)} J/token, ` : "";
  return `${each}${figure(j)} J ${source}`;
}

function route(headers) {
  const field = (name) => headers.get(`x-npu-proxy-${name}`) ?? "";
  return {
    id: headers.get("x-request-id") ?? "",
    requested: field("requested-device"),
    routed: field("routed-device"),
    executed: field("execution-device"),
    reason: (field("fallback-reason") || field("route-reason")).replaceAll("_", " "),
    dropped: Number(field("truncated-messages")) || 0,
  };
}

function end(facts, part) {
  facts.done = part.done_reason || "stop";
  facts.prompt_tokens = part.prompt_eval_count ?? 0;
  facts.tokens = part.eval_count ?? 0;
  facts.seconds = (part.eval_duration ?? 0) / 1e9;
}

/** The facts of an answer in short words, each [name, value]. */
export function shown(facts) {
  const steps = [facts.requested, facts.routed, facts.executed].filter(Boolean);
  const rate = facts.tokens > 1 && facts.seconds > 0 ? (facts.tokens - 1) / facts.seconds : null;
  return [
    ["ran on", steps.filter((step, index) => step !== steps[index - 1]).join(" → ")],
    ["because", facts.reason],
    ["first token", facts.ttft_s === null ? "" : seconds(facts.ttft_s)],
    ["tokens", facts.tokens ? `${facts.prompt_tokens} → ${facts.tokens}` : ""],
    ["tokens/s", rate ? rate.toFixed(rate < 10 ? 1 : 0) : ""],
    ["energy", facts.energy ? joules(facts.energy, facts.tokens) : ""],
    ["ended by", facts.done && facts.done !== "stop" ? facts.done : ""],
    ["left out", facts.dropped ? `${facts.dropped} oldest messages` : ""],
  ].filter(([, value]) => value);
}

function seconds(value) {
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}
