// Markdown as models write it, made of DOM nodes: code, lists, quotes, tables' text, bold, italic, links to http(s).

import { make } from "./dom.js";

const FENCE = /^\s*(```+|~~~+)\s*([\w+#.-]*)\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,4}[.)])\s+(.*)$/;
const HEADING = /^#{1,6}\s+(.*)$/;
const INLINE =
  /(?<code>`[^`\n]+`)|(?<strong>\*\*[^*\n]+\*\*|__[^_\n]+__)|(?<em>\*[^*\s][^*\n]*\*)|(?<link>\[[^\]\n]+\]\([^()\s]+\))|(?<bare>https?:\/\/[^\s<>()"'`]+)/;

/** `text` as a list of elements. */
export function markdown(text) {
  const lines = text.replace(/\r/g, "").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    if (fence) at = code(lines, at, fence, blocks);
    else if (!line.trim()) at += 1;
    else if (HEADING.test(line)) {
      blocks.push(make("p", { class: "head" }, make("strong", {}, ...inline(HEADING.exec(line)[1]))));
      at += 1;
    } else if (ITEM.test(line)) at = list(lines, at, blocks);
    else if (line.startsWith(">")) at = run(lines, at, (one) => one.startsWith(">"), quote, blocks);
    else at = run(lines, at, isPlain, (taken) => make("p", {}, ...broken(taken)), blocks);
  }
  return blocks;
}

function isPlain(line) {
  return line.trim() && !FENCE.test(line) && !HEADING.test(line) && !ITEM.test(line) && !line.startsWith(">");
}

function run(lines, at, belongs, make, blocks) {
  let end = at + 1;
  while (end < lines.length && belongs(lines[end])) end += 1;
  blocks.push(make(lines.slice(at, end)));
  return end;
}

function quote(lines) {
  return make("blockquote", {}, ...markdown(lines.map((line) => line.replace(/^>\s?/, "")).join("\n")));
}

function broken(lines) {
  return lines.flatMap((line, index) => (index ? [make("br"), ...inline(line)] : inline(line)));
}

function code(lines, at, [, mark, language], blocks) {
  let end = at + 1;
  while (end < lines.length && !lines[end].trim().startsWith(mark)) end += 1;
  const text = make("code", {}, lines.slice(at + 1, end).join("\n"));
  blocks.push(make("pre", { tabindex: "0", "data-language": language || null }, text));
  return end + 1;
}

/** Deeper items go into a list of their own. */
function list(lines, at, blocks) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const numbered = /\d/.test(mark);
  const made = make(numbered ? "ol" : "ul", { start: numbered ? parseInt(mark, 10) : null });
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    if (item && item[1].length > indent.length && made.lastElementChild) {
      const inner = [];
      at = list(lines, at, inner);
      made.lastElementChild.append(...inner);
    } else if (item && item[1].length === indent.length && /\d/.test(item[2]) === numbered) {
      made.append(make("li", {}, ...inline(item[3])));
      at += 1;
    } else if (!item && /^\s+\S/.test(lines[at]) && made.lastElementChild && !FENCE.test(lines[at])) {
      made.lastElementChild.append(" ", ...inline(lines[at].trim()));
      at += 1;
    } else break;
  }
  blocks.push(made);
  return at;
}

function inline(text) {
  const parts = [];
  for (let rest = text; rest; ) {
    const found = INLINE.exec(rest);
    if (!found) return [...parts, rest];
    if (found.index) parts.push(rest.slice(0, found.index));
    parts.push(marked(found[0], found.groups));
    rest = rest.slice(found.index + found[0].length);
  }
  return parts;
}

function marked(text, kind) {
  if (kind.code) return make("code", {}, text.slice(1, -1));
  if (kind.strong) return make("strong", {}, ...inline(text.slice(2, -2)));
  if (kind.em) return make("em", {}, ...inline(text.slice(1, -1)));
  if (kind.bare) return link(text, text) ?? text;
  const [, words, address] = /^\[([^\]]+)\]\(([^()]+)\)$/.exec(text);
  return link(words, address) ?? text;
}

function link(words, address) {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return null;
  return make("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, words);
}
