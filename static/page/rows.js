// Fills the page's own markup from rows of data. Text becomes text and never markup.
//
//   data-text="field"            the field's words
//   data-set="attribute:field"   attributes; '' and null take them away
//   data-show="field"            hidden where the field is empty
//   data-tag="field"             the colour of a tag
//   data-list="field"            texts, each in a copy of the <template> inside
//   data-rows="field"            rows, each in a copy of the <template> inside, told apart by data-key

const COLOURS = ["good", "warn", "bad"];

/** All of `section` ({order?, rows?}) in `list`, which holds one element a key. */
export function update(list, section) {
  const elements = new Map(children(list).map((element) => [element.dataset.key, element]));
  for (const [key, row] of Object.entries(section.rows ?? {})) {
    let element = elements.get(key);
    if (!element) {
      element = copy(list);
      element.dataset.key = key;
      elements.set(key, element);
    }
    fill(element, row);
  }
  if (section.order) arrange(list, elements, section.order);
}

function arrange(list, elements, order) {
  const wanted = new Set(order);
  for (const [key, element] of elements) if (!wanted.has(key)) element.remove();
  let place = children(list)[0] ?? null;
  for (const key of order) {
    const element = elements.get(key);
    if (!element) continue;
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
}

function children(list) {
  return [...list.children].filter((element) => element.dataset.key !== undefined);
}

function copy(list) {
  return list.querySelector(":scope > template").content.firstElementChild.cloneNode(true);
}

/** The fields of `row` in `element`, and nothing of the rows inside it. */
function fill(element, row) {
  const own = [element, ...element.querySelectorAll("*")].filter(
    (one) => one.closest("[data-key]") === element || one === element,
  );
  for (const one of own) {
    const { text, set, show, tag, list, rows } = one.dataset;
    if (text in row) write(one, row[text]);
    if (show in row) one.hidden = !row[show];
    if (tag in row) COLOURS.forEach((colour) => one.classList.toggle(colour, colour === row[tag]));
    if (list in row) texts(one, row[list]);
    if (rows in row) nested(one, row[rows]);
    for (const pair of set?.split(" ") ?? []) {
      const [attribute, field] = pair.split(/:(?=[^:]*$)/);
      if (field in row) assign(one, attribute, row[field]);
    }
  }
}

function write(element, value) {
  const words = String(value ?? "");
  if (element.textContent !== words) element.textContent = words;
}

function assign(element, attribute, value) {
  const gone = value === null || value === "";
  if (attribute === "value" && "value" in element) {
    if (element !== document.activeElement) element.value = value ?? "";
  } else if (gone) element.removeAttribute(attribute);
  else if (element.getAttribute(attribute) !== String(value)) element.setAttribute(attribute, value);
}

function texts(list, words) {
  const shown = [...list.children].filter((element) => element.localName !== "template");
  if (shown.map((element) => element.textContent).join("\n") === words.join("\n")) return;
  shown.forEach((element) => element.remove());
  for (const text of words) {
    const element = copy(list);
    element.textContent = text;
    list.append(element);
  }
}

function nested(list, rows) {
  update(list, { order: rows.map((row) => row.key), rows: Object.fromEntries(rows.map((row) => [row.key, row])) });
}

/** Clocks that run by themselves. `now`: Unix seconds by the server's clock. */
export function tick(now) {
  for (const element of document.querySelectorAll("[data-until]")) {
    write(element, `leaves in ${duration(Math.max(0, element.dataset.until - now))}`);
  }
  for (const element of document.querySelectorAll("[data-from]")) {
    write(element, duration(Math.max(0, now - element.dataset.from)));
  }
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  const [days, hours, minutes] = [
    Math.floor(whole / 86400),
    Math.floor((whole % 86400) / 3600),
    Math.floor((whole % 3600) / 60),
  ];
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}
