// Keeps the cells of models true while the page is looked at: what is loaded where, how far a verification is.
"use strict";

const SOON_MS = 500;
const LATER_MS = 4000;

function cells() {
  return [...document.querySelectorAll("[data-model]")];
}

function isMoving() {
  return cells().some((one) => one.querySelector("[data-moves], .tag.busy"));
}

async function look() {
  const shown = cells();
  if (!shown.length) return;
  const wanted = [...new Set(shown.map((one) => one.dataset.model))].map((id) => "id=" + id).join("&");
  const here = location.pathname.replace(/\d+\/change\/$/, "");
  try {
    const answer = await fetch(here + "live/?" + wanted, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const rows = new Map((await answer.json()).models.map((row) => [String(row.id), row]));
      for (const cell of shown) {
        const html = rows.get(cell.dataset.model)?.[cell.dataset.cell];
        if (html !== undefined && html !== cell.dataset.was) cell.innerHTML = cell.dataset.was = html;
      }
    }
  } catch {
    // the server is restarted, perhaps; the next look will tell
  }
  setTimeout(look, isMoving() ? SOON_MS : LATER_MS);
}

document.addEventListener("DOMContentLoaded", () => setTimeout(look, isMoving() ? SOON_MS : LATER_MS));
