// The request behind an answer, as a line of curl, as Python (Ollama's package) and as JavaScript.

const KEY = "YOUR_KEY";

/** {curl, Python, JavaScript}; `sent`: {body, headers}. */
export function snippets(sent) {
  const address = location.origin;
  const headers = { ...sent.headers, ...(document.body.dataset.key && { "X-API-Key": KEY }) };
  const body = shortened(sent.body);
  return { curl: curl(address, body, headers), Python: python(address, body, headers), JavaScript: javascript(address, body, headers) };
}

/** Images would fill the page. */
export function shortened(body) {
  const messages = body.messages.map((message) =>
    message.images ? { ...message, images: message.images.map(() => "BASE64") } : message,
  );
  return { ...body, messages };
}

function curl(address, body, headers) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const fields = Object.entries(headers).map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)} \\\n`);
  return `curl ${address}/api/chat \\\n${fields.join("")}  -d ${quoted(JSON.stringify({ ...body, stream: false }, null, 2))}`;
}

function python(address, body, headers) {
  const { model, messages, ...more } = body;
  const given = Object.entries({ model, messages, ...more }).map(([name, value]) => `    ${name}=${literal(value, "    ")},\n`);
  const fields = Object.keys(headers).length ? `, headers=${literal(headers, "")}` : "";
  return `from ollama import Client  # pip install ollama

client = Client(host=${literal(address, "")}${fields})
answer = client.chat(
${given.join("")})
print(answer.message.content)`;
}

function javascript(address, body, headers) {
  const fields = Object.keys(headers).length ? `  headers: ${indented(headers)},\n` : "";
  return `const answer = await fetch(${JSON.stringify(`${address}/api/chat`)}, {
  method: "POST",
${fields}  body: JSON.stringify(${indented({ ...body, stream: false })}),
});
console.log((await answer.json()).message.content);`;
}

function indented(value) {
  return JSON.stringify(value, null, 2).replaceAll("\n", "\n  ");
}

/** JSON's text is Python's too, but for three words. */
function literal(value, indent) {
  const deeper = `${indent}    `;
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return `[\n${value.map((one) => `${deeper}${literal(one, deeper)},\n`).join("")}${indent}]`;
  }
  if (typeof value === "object") {
    const fields = Object.entries(value).map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${literal(one, deeper)},\n`);
    return fields.length ? `{\n${fields.join("")}${indent}}` : "{}";
  }
  return JSON.stringify(value);
}
