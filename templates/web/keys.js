// Keys for readers who like them. Every page works without this file.
"use strict";

const KEYS = [
  ["j", "next paper"], ["k", "previous paper"], ["o", "open the paper"], ["u", "like"],
  ["d", "not for me"], ["s", "save"], ["/", "search"], ["?", "show this list"],
];
const VOTES = { u: "vote_up", d: "vote_down", s: "save" };

const cards = () => [...document.querySelectorAll("article.card")];

// The card with the focus, else the one that was voted on just now, else the paper of the page.
const chosen = () =>
  document.activeElement.closest("article.card") ||
  document.querySelector("article.card:target, article.paper");

function move(step) {
  const all = cards();
  const at = all.indexOf(chosen());
  // Without a chosen card, begin with the first one that is on the screen.
  const first = all.findIndex((card) => card.getBoundingClientRect().bottom > 0);
  const next = all[at < 0 ? first : at + step];
  if (!next) return;
  next.querySelector("h2 a, h3 a").focus();
  next.scrollIntoView({ block: "nearest" });
}

function search() {
  const field = document.querySelector("input[type=search], input[name=q]");
  if (field) field.focus();
  else document.querySelector('nav a[href$="/search"]').click();
}

function act(key) {
  if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "/") search();
  else if (key === "?") help.showModal();
  else if (key === "o") chosen()?.querySelector("h2 a, h3 a, .ways a")?.click();
  else if (key in VOTES) chosen()?.querySelector(`[data-vote=${VOTES[key]}]`)?.click();
  else return false;
  return true;
}

// Whoever speaks to the computer, or types with difficulty, can switch the keys off (WCAG 2.1.4).
// A browser may forbid to keep anything; then the keys are on.
function stored(value) {
  try {
    if (value) localStorage.setItem("keys", value);
    return localStorage.getItem("keys");
  } catch {
    return value;
  }
}
let areOn = stored() !== "off";

function make(name, values, ...children) {
  const element = Object.assign(document.createElement(name), values);
  element.append(...children);
  return element;
}

const rows = KEYS.map(([key, words]) =>
  make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: words })));
const toggle = make("button", { className: "choice", type: "button" });
const close = make("button", { className: "choice", type: "button", textContent: "Close" });
const help = make("dialog", { className: "keys" },
  make("h2", { id: "keys", textContent: "Keys" }), make("dl", {}, ...rows), close, " ", toggle);
help.setAttribute("aria-labelledby", "keys");
close.addEventListener("click", () => help.close());

function label() {
  toggle.textContent = areOn ? "Switch the keys off" : "Switch the keys on";
}
toggle.addEventListener("click", () => {
  areOn = !areOn;
  stored(areOn ? "on" : "off");
  label();
});
label();

for (const text of document.querySelectorAll("textarea[readonly]")) {
  text.addEventListener("focus", () => text.select());
}

const opener = make("button", { className: "link", type: "button", textContent: "Keys" });
opener.addEventListener("click", () => help.showModal());
document.querySelector("footer p").append(" · ", opener);
document.body.append(help);

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (!areOn || help.open || isTyping || event.repeat || event.isComposing) return;
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (act(event.key)) event.preventDefault();
});
