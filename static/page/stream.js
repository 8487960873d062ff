// One answer of /api/chat as it comes.

import { ask } from "./api.js";

/** Calls `on(part)` for each line of the stream; returns {route, ttft_s}. Throws what the server says is wrong. */
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
}

function route(headers) {
  const field = (name) => headers.get(`x-npu-proxy-${name}`) ?? "";
  return {
    id: headers.get("x-request-id") ?? "",
    requested: field("requested-device"),
    routed: field("routed-device"),
    executed: field("execution-device"),
    reason: (field("fallback-reason") || field("route-reason")).replaceAll("_", " "),
    watts: Number(headers.get("x-estimated-power-watts")) || null,
    dropped: Number(field("truncated-messages")) || 0,
  };
}

function end(facts, part) {
  facts.done = part.done_reason || "stop";
  facts.prompt_tokens = part.prompt_eval_count ?? 0;
  facts.tokens = part.eval_count ?? 0;
  facts.seconds = (part.eval_duration ?? 0) / 1e9;
  facts.prefill_s = (part.prompt_eval_duration ?? 0) / 1e9;
}

/** The facts of an answer in short words, each [name, value]. */
export function shown(facts) {
  const steps = [facts.requested, facts.routed, facts.executed].filter(Boolean);
  const rate = facts.tokens > 1 && facts.seconds > 0 ? (facts.tokens - 1) / facts.seconds : null;
  const joules = facts.watts && facts.tokens ? (facts.watts * (facts.seconds + facts.prefill_s)) / facts.tokens : null;
  return [
    ["ran on", steps.filter((step, index) => step !== steps[index - 1]).join(" → ")],
    ["because", facts.reason],
    ["first token", facts.ttft_s === null ? "" : seconds(facts.ttft_s)],
    ["tokens", facts.tokens ? `${facts.prompt_tokens} → ${facts.tokens}` : ""],
    ["tokens/s", rate ? rate.toFixed(rate < 10 ? 1 : 0) : ""],
    ["energy", joules ? `${joules.toFixed(joules < 1 ? 2 : 1)} J/token, estimated` : facts.tokens ? "unknown" : ""],
    ["ended by", facts.done && facts.done !== "stop" ? facts.done : ""],
    ["left out", facts.dropped ? `${facts.dropped} oldest messages` : ""],
  ].filter(([, value]) => value);
}

function seconds(value) {
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}
