// The page works without this script. It shows values at the pointer and the focus, and applies the form at once.
"use strict";

const main = document.querySelector("main");
const form = document.getElementById("form");

// Values of bars and countries. They are the <title> elements, which browsers would show only after a while.
const tip = document.createElement("div");
tip.id = "tip";
tip.setAttribute("role", "status");
main.append(tip);

const PARTS = "svg[role=img] g, svg[role=img] path, svg[role=img] circle";
let current = null;

function show(part) {
  if (current === part) return;
  if (current) current.classList.remove("current");
  current = part;
  tip.textContent = part ? part.dataset.text : "";
  if (!part) return;
  part.classList.add("current");
  const box = part.getBoundingClientRect();
  const frame = main.getBoundingClientRect();
  const middle = box.left + box.width / 2 - frame.left - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(0, Math.min(middle, frame.width - tip.offsetWidth))}px`;
  tip.style.top = `${box.top - frame.top - tip.offsetHeight - 6}px`;
}

// Each chart is one stop of the Tab key. The arrow keys move from value to value.
function prepare() {
  show(null);
  for (const part of document.querySelectorAll(PARTS)) {
    const title = part.querySelector(":scope > title");
    if (!title) continue;
    part.dataset.text = title.textContent;
    title.remove();
  }
  for (const chart of document.querySelectorAll("svg[role=img]")) {
    if (chart.querySelector("[data-text]")) chart.setAttribute("tabindex", "0");
  }
}

function move(event) {
  const chart = event.target.closest("svg[tabindex]");
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!chart || !step) return;
  event.preventDefault();
  const parts = [...chart.querySelectorAll("[data-text]")];
  const now = parts.indexOf(current);
  show(parts[now < 0 ? (step > 0 ? 0 : parts.length - 1) : (now + step + parts.length) % parts.length]);
}

main.addEventListener("pointerover", (event) => show(event.target.closest("[data-text]")));
main.addEventListener("pointerleave", () => show(null));
main.addEventListener("focusin", (event) => {
  if (event.target.matches("svg[tabindex]")) show(event.target.querySelector("[data-text]"));
});
main.addEventListener("focusout", () => show(null));
main.addEventListener("keydown", (event) => (event.key === "Escape" ? show(null) : move(event)));

// Views. Only what depends on the view is replaced, so that focus and scroll position stay.
let request = null;

async function load(url, { push, fill }) {
  if (request) request.abort();
  request = new AbortController();
  const view = document.getElementById("view");
  view.setAttribute("aria-busy", "true");
  let text;
  try {
    const answer = await fetch(url, { signal: request.signal });
    // The page of an error has its message beside the field.
    if (!answer.ok) throw new Error(answer.statusText);
    text = await answer.text();
  } catch (error) {
    if (error.name !== "AbortError") location.assign(url);
    return;
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  const open = [...view.querySelectorAll("details[open]")].map((one) => one.closest("section").id);
  for (const id of ["heading", "view"]) document.getElementById(id).replaceWith(page.getElementById(id));
  document.querySelector("footer").replaceWith(page.querySelector("footer"));
  for (const id of open) document.querySelector(`#${id} details`)?.setAttribute("open", "");
  document.title = page.title;
  if (fill) form.replaceChildren(...page.getElementById("form").childNodes);
  if (push) history.pushState(null, "", url);
  prepare();
}

function readForm() {
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  return `?${new URLSearchParams(filled)}`.replaceAll("%2C", ",");
}

if (form && document.getElementById("view")) {
  form.addEventListener("change", () => load(readForm(), { push: true }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    load(readForm(), { push: true });
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#view th a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { id } = link.closest("section");
    const { textContent } = link;
    load(link.href, { push: true, fill: true }).then(() => {
      // The link that was followed is a new one now.
      [...document.querySelectorAll(`#${id} th a`)].find((one) => one.textContent === textContent)?.focus();
    });
  });
  addEventListener("popstate", () => load(location.href, { fill: true }));
}
prepare();
