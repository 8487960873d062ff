// Moves the bars of active downloads in admin; a row that ended is shown anew with its page.
"use strict";

const EVERY_MS = 500;

function active() {
  return [...document.querySelectorAll('[data-download][data-active="true"]')];
}

const isPage = /\/change\/$/.test(location.pathname);
let begunAs = "";

function filesShown() {
  return document.querySelectorAll("[data-file]").length;
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
          if (!row.active) place.dataset.active = "false";
        }
        for (const place of document.querySelectorAll(`[data-state="${row.id}"]`)) {
          if (place.innerText !== row.state) place.innerHTML = row.tag;
        }
        if (isPage && (!row.active || row.state !== begunAs || Object.keys(row.files).length !== filesShown())) {
          location.reload(); // its times, owner, error and buttons are others now
          return;
        }
        for (const place of document.querySelectorAll("[data-file]")) {
          place.textContent = row.files[place.dataset.file] ?? place.textContent;
        }
      }
    }
  } catch {
    // the server is restarted, perhaps; the next look will tell
  }
  setTimeout(look, EVERY_MS);
}

document.addEventListener("DOMContentLoaded", () => {
  begunAs = document.querySelector("[data-state]")?.innerText ?? "";
  look();
});
