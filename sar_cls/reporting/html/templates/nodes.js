"use strict";
/* The page's data, and small helpers: elements whose text can only ever be text, numbers, the tip beside the pointer. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const SHAPES = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
const node = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const shape = (name, attributes = {}, ...children) => filled(document.createElementNS(SHAPES, name), attributes, children);

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const number = (value, digits = 2) => (known(value) ? value.toFixed(digits) : "–");
const signed = (value, digits = 2) => (known(value) ? (value > 0 ? "+" : "") + value.toFixed(digits) : "–");
const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

const entries = new Map();
for (const view of DATA.views) view.entries.forEach((entry, index) => {
  entry.view = view;
  entry.color = `var(--c${index % 7})`;
  entry.dash = ["", "7 4", "2 3", "9 3 2 3"][(index + Math.floor(index / 7)) % 4];
  entry.counts = DATA.records[entry.runs[0]].train_counts;
  entries.set(entry.key, entry);
});

const tip = {
  box: document.getElementById("tip"),
  show(lines, x, y) {
    this.box.replaceChildren(...lines.map((line) => node("p", {}, line)));
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    this.box.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
    this.box.style.top = `${Math.max(4, y + 18 + height > innerHeight ? y - height - 12 : y + 18)}px`;
  },
  speak(lines) { document.getElementById("spoken").textContent = lines.join(". "); },
  hide() { this.box.hidden = true; },
};

/* A drawing is made anew whenever its place gets another width; on paper it has one of its own. */
const drawings = [];
function keepDrawn(place, draw, paper = 640) {
  let width = 0;
  const drawing = {
    paper,
    now(wanted) { width = Math.max(260, Math.floor(wanted || place.clientWidth || 640)); draw(width); },
    again() { if (width) draw(width); },
  };
  drawings.push(drawing);
  new ResizeObserver(() => { if (place.clientWidth && Math.abs(place.clientWidth - width) > 1 && !printing) drawing.now(); }).observe(place);
  drawing.now();
  return drawing;
}
let printing = false;

/* A table from columns and rows; the first cell of a row is its heading. Sorted like those of the page. */
function plainTable(caption, columns, rows) {
  const table = node("table", { class: "sortable" },
    node("caption", {}, caption),
    node("thead", {}, node("tr", {}, ...columns.map((name) => node("th", { scope: "col" }, node("button", { type: "button" }, name))))),
    node("tbody", {}, ...rows.map((row) => node("tr", {}, ...row.map((cell, index) => {
      const [text, sort] = Array.isArray(cell) ? cell : [cell, null];
      const attributes = { "data-sort": known(sort) ? sort : null, class: known(sort) ? "number" : null };
      return index ? node("td", attributes, text) : node("th", { ...attributes, scope: "row" }, text);
    })))));
  makeSortable(table);
  return node("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
}

/* The same numbers as a table for those who do not see the figure; made when it is opened. */
function numbersBelow(place, summary, make) {
  const details = node("details", { class: "no-print" }, node("summary", {}, summary));
  details.addEventListener("toggle", () => {
    while (details.children.length > 1) details.lastChild.remove();
    if (details.open) details.append(make());
  });
  place.replaceChildren(details);
  return details;
}
