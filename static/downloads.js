// Moves the bars of active downloads in admin; a row that ended is shown anew with its page.
"use strict";

const EVERY_MS = 500;

function active() {
  return [...document.querySelectorAll('[data-download][data-active="true"]')];
}

async function look() {
  const shown = active();
  if (!shown.length) return;
  const here = location.pathname.replace(/\d+\/change\/$/, "");
  const wanted = shown.map((one) => "id=" + one.dataset.download).join("&");
  try {
    const answer = await fetch(here + "progress/?" + wanted, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      for (const row of (await answer.json()).downloads) {
        for (const place of document.querySelectorAll(`[data-download="${row.id}"]`)) {
          place.querySelector("progress").value = row.share;
          place.querySelector("span").textContent = row.words;
          if (!row.active) {
            place.dataset.active = "false";
            const state = place.closest("tr")?.querySelector(".field-state");
            if (state) state.textContent = row.state;
          }
        }
      }
    }
  } catch {
    // the server is restarted, perhaps; the next look will tell
  }
  setTimeout(look, EVERY_MS);
}

document.addEventListener("DOMContentLoaded", look);
