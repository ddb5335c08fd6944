// The page works without this script. It updates the counts every two seconds, and the rest every minute.
"use strict";

const COUNTS_AFTER = 2000;
const PAGE_AFTER = 60000;
const view = () => document.getElementById("view");
const problem = document.getElementById("problem");
const updates = document.getElementById("updates");

const button = document.createElement("button");
button.type = "button";
button.id = "pause";
button.textContent = "Pause";
updates.append(button);

let paused = false;
let etag = null;
let pageLoaded = Date.now();

// A line may break between the date and the time only.
function writeTime(text, length) {
  return `${text.slice(0, length).replace("T", " ").replaceAll("-", "-\u2060")}\u00a0UTC`;
}

function writeCount(row) {
  if (row.count !== null) return row.count.toLocaleString("en");
  return row.suppressed ? view().dataset.few : "–";
}

function writeState(row) {
  if (row.complete) return "";
  const words = row.stale ? view().dataset.stale : view().dataset.incomplete;
  return words.replace("{time}", writeTime(row.as_of, 16));
}

function writeUnconfirmed(row) {
  if (!row.unconfirmed) return "";
  return view().dataset.unconfirmed.replace("{count}", row.unconfirmed.toLocaleString("en"));
}

// The text is only changed if it is another one, so that a selection stays.
function write(part, text) {
  if (part && part.textContent !== text) part.textContent = text;
}

function update(row) {
  const place = document.querySelector(`[data-space="${CSS.escape(row.space)}"]`);
  if (!place) return;
  write(place.querySelector("[data-count]"), writeCount(row));
  write(place.querySelector("[data-state]"), writeState(row));
  write(place.querySelector("[data-unconfirmed]"), writeUnconfirmed(row));
  const highest = place.querySelector("[data-highest]");
  const known = Number(highest.textContent.replaceAll(",", ""));
  if (row.count !== null && !(known >= row.count)) write(highest, writeCount(row));
}

async function loadCounts() {
  const headers = etag ? { "If-None-Match": etag } : {};
  const answer = await fetch("now?format=json", { headers });
  if (answer.status !== 304) {
    if (!answer.ok) throw new Error(answer.statusText);
    (await answer.json()).results.forEach(update);
    etag = answer.headers.get("ETag");
  }
}

async function loadPage() {
  const answer = await fetch(location.pathname);
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  view().replaceWith(page.getElementById("view"));
  pageLoaded = Date.now();
  // The page may be older than the counts.
  etag = null;
}

async function run() {
  if (!paused && !document.hidden) {
    try {
      if (Date.now() - pageLoaded >= PAGE_AFTER) await loadPage();
      await loadCounts();
      write(document.getElementById("as-of"), writeTime(new Date().toISOString(), 19));
      write(problem, "");
    } catch {
      write(problem, "The service does not answer. The page tries again.");
    }
  }
  setTimeout(run, COUNTS_AFTER);
}

button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Continue" : "Pause";
});

setTimeout(run, COUNTS_AFTER);
