// Fetches the live part of the status page every other second, while somebody can see it.
"use strict";

const live = document.getElementById("live");
const link = document.getElementById("link");

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(live.dataset.source, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    live.innerHTML = await answer.text();
    document.body.classList.remove("gone");
    link.textContent = "answering";
  } catch {
    document.body.classList.add("gone");
    link.textContent = "not reachable";
  }
}

async function follow() {
  await refresh();
  setTimeout(follow, 2000);
}

document.addEventListener("visibilitychange", refresh);
setTimeout(follow, 2000);
