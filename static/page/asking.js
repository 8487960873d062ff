// A question before something is lost: a dialog of the browser's own, with keys and focus as people know them.

import { button, make } from "./dom.js";

/** True where the button `yes` was chosen; Escape is a no. */
export function sure(question, yes) {
  const dialog = make("dialog", { class: "asking", "aria-labelledby": "asked" });
  const no = button("No, keep it", () => dialog.close());
  const go = button(yes, () => dialog.close("yes"), { class: "danger" });
  dialog.append(make("p", { id: "asked" }, question), make("p", { class: "acts" }, no, go));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
