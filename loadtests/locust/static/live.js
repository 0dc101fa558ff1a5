// Keeps the page of current runs fresh: fetches the part that changes every two seconds.
"use strict";

const EVERY_MS = 2000;
const LONGEST_MS = 10000;
const root = document.documentElement;
const live = document.getElementById("live");
const silent = document.getElementById("silent");
let shown = "";
let asOf = "";

if (window.parent !== window) root.classList.add("framed");

// The theme chosen in Locust's own pages, which store it there.
function follow() {
  const theme = localStorage.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = theme;
}
follow();
addEventListener("storage", follow);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);

// A chart under the pointer and selected text stay until they no longer are.
function isLookedAt() {
  return live.querySelector("figure svg:hover") !== null || !getSelection().isCollapsed;
}

function show(text) {
  if (text === shown || isLookedAt()) return;
  live.innerHTML = text;
  shown = text;
  document.title = live.querySelector("[data-title]")?.dataset.title ?? "swarmgate";
}

async function refresh() {
  try {
    const answer = await fetch("part", {cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS)});
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    show(await answer.text());
    asOf = new Date().toLocaleTimeString();
    silent.hidden = true;
  } catch {
    if (asOf) document.getElementById("as-of").textContent = asOf;
    silent.hidden = false;
  }
  setTimeout(refresh, EVERY_MS);
}
refresh();
