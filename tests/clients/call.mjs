// The official clients, unmodified: `node call.mjs ollama|openai|anthropic URL`.
//
// A line of input is a call: {"call": "models.list", "arguments": [...]}, with "stream": true where what it returns is
// to be walked through, "leave_after": n where it is to be left after n parts, and "final": "finalMessage" for the
// method of a stream that tells at its end what it was. Lines of output are what comes back: {"part": ...} for each
// part, then one {"result": ...} or {"error": {"name", "message", "status"}}.
// Typed arrays are printed as lists. Ends when its input does.

import { createInterface } from "node:readline";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import OpenAI from "openai";

const CLIENTS = {
  anthropic: (url) => new Anthropic({ baseURL: url, apiKey: "any", maxRetries: 0 }),
  ollama: (url) => new Ollama({ host: url }),
  openai: (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 }),
};

console.log = console.error; // a client's own words are none of these lines
const client = CLIENTS[process.argv[2]](process.argv[3]);

function print(line) {
  const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  process.stdout.write(JSON.stringify(line, plain) + "\n");
}

function call(path, given) {
  const names = path.split(".");
  const method = names.pop();
  const owner = names.reduce((object, name) => object[name], client);
  return owner[method](...given);
}

function leave(stream) {
  if (stream.abort) stream.abort(); // ollama, and what the others call a stream
  else stream.controller.abort(); // their create({ stream: true })
}

async function walk(stream, leaveAfter) {
  let count = 0;
  for await (const part of stream) {
    print({ part });
    count += 1;
    if (count === leaveAfter) leave(stream);
  }
}

async function answer(line) {
  const wish = JSON.parse(line);
  try {
    const given = await call(wish.call, wish.arguments ?? []);
    if (wish.stream) await walk(given, wish.leave_after ?? 0);
    const result = wish.final ? await given[wish.final]() : wish.stream ? null : given;
    print({ result: result ?? null });
  } catch (error) {
    const status = error.status ?? error.status_code ?? null;
    print({ error: { name: error.constructor.name, message: error.message, status } });
  }
}

for await (const line of createInterface({ input: process.stdin })) await answer(line);
