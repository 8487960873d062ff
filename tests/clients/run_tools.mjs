// The helpers that call tools by themselves, unmodified: `node run_tools.mjs openai|anthropic URL`.
//
// Prints {"called": [the cities that the tool was asked for], "said": the last answer, "streamed": its text in parts}.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [name, url] = process.argv.slice(2);
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const about = { name: "get_weather", description: "The weather of a city." };
const called = [];

function weather({ city }) {
  called.push(city);
  return `sunny in ${city}`;
}

async function overOpenAI() {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
  const runner = client.chat.completions.runTools({
    model: "demo", messages, temperature: 0, reasoning_effort: "none", max_completion_tokens: 80, stream: true,
    tools: [{ type: "function", function: { ...about, parameters: schema, parse: JSON.parse, function: weather } }],
  });
  let streamed = "";
  runner.on("content", (delta) => (streamed += delta));
  return { said: await runner.finalContent(), streamed };
}

async function overAnthropic() {
  const client = new Anthropic({ baseURL: url, apiKey: "any", maxRetries: 0 });
  const runner = client.beta.messages.toolRunner({
    model: "demo", messages, max_tokens: 80, temperature: 0, stream: true,
    tools: [{ type: "custom", ...about, input_schema: schema, run: weather, parse: (input) => input }],
  });
  let streamed = "";
  for await (const stream of runner) stream.on("text", (delta) => (streamed += delta));
  const last = await runner.done();
  return { said: last.content.map((block) => block.text ?? "").join(""), streamed };
}

const outcome = await { openai: overOpenAI, anthropic: overAnthropic }[name]();
console.log(JSON.stringify({ called, ...outcome }));
