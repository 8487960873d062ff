// Images that go with the next message: chosen, pasted or dropped, shown small until they are sent.

import { say } from "./api.js";
import { button, make } from "./dom.js";
import { can } from "./settings.js";

const MOST_BYTES = 20 * 2 ** 20;
const STARTS = { iVBOR: "png", "/9j/": "jpeg", R0lG: "gif", UklG: "webp", Qk: "bmp" };

const list = document.getElementById("pending");
let pending = []; // base64

/** `form` has the field `images` and the message's `text`. */
export function prepare(form) {
  const field = form.elements.images;
  field.addEventListener("change", async () => {
    await add([...field.files]);
    field.value = "";
  });
  form.elements.text.addEventListener("paste", (event) => given(event, event.clipboardData));
  form.addEventListener("dragover", (event) => can("vision") && event.preventDefault());
  form.addEventListener("drop", (event) => given(event, event.dataTransfer));
}

function given(event, data) {
  const files = [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (!files.length) return;
  event.preventDefault();
  if (can("vision")) add(files);
  else say("this model does not look at images", true);
}

async function add(files) {
  for (const file of files) {
    if (file.size > MOST_BYTES) say(`${file.name}: more than ${MOST_BYTES / 2 ** 20} MB`, true);
    else pending.push(await base64(file));
  }
  draw();
}

/** What is to be sent; from then on nothing is. */
export function take() {
  const taken = pending;
  pending = [];
  draw();
  return taken;
}

function draw() {
  list.replaceChildren(...pending.map((data, index) => {
    const drop = () => {
      pending.splice(index, 1);
      draw();
    };
    return make("li", {}, picture(data, `image ${index + 1}`), button("×", drop, { "aria-label": `Remove image ${index + 1}` }));
  }));
}

/** An <img> of base64. */
export function picture(data, alt) {
  const start = Object.keys(STARTS).find((one) => data.startsWith(one));
  return make("img", { src: `data:image/${STARTS[start] ?? "*"};base64,${data}`, alt });
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
