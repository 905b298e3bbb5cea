"use strict";

// Highlight a trial everywhere: in every chart, in the table and among the grids.
function highlight(trial) {
  for (const element of document.querySelectorAll("[data-trial]")) {
    element.classList.toggle("highlighted", trial !== null && element.dataset.trial === trial);
  }
}

function describe(mark) {
  const chart = mark.closest("svg");
  const readout = chart && chart.parentElement.nextElementSibling;
  if (readout && readout.classList.contains("readout")) {
    readout.textContent = mark.getAttribute("aria-label");
  }
}

function select(event) {
  const element = event.target.closest("[data-trial]");
  if (!element) return;
  highlight(element.dataset.trial);
  if (element.classList.contains("mark")) describe(element);
}

document.addEventListener("mouseover", select);
document.addEventListener("focusin", select);
document.addEventListener("mouseout", (event) => {
  if (event.target.closest("[data-trial]")) highlight(null);
});
document.addEventListener("focusout", () => highlight(null));

// A chart is one stop of the tab key; the arrow keys move between its trials, from the best one.
for (const chart of document.querySelectorAll("svg.chart")) {
  const marks = [...chart.querySelectorAll(".mark[tabindex]")].reverse();
  if (marks.length) marks[0].tabIndex = 0;
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const current = marks.indexOf(document.activeElement);
    if (!step || current < 0) return;
    event.preventDefault();
    const next = marks[(current + step + marks.length) % marks.length];
    marks[current].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Empty cells come last in either direction; two numbers compare as numbers, else as text.
function compare(a, b, sign) {
  if (a === b) return 0;
  if (a === "" || b === "") return a === "" ? 1 : -1;
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
  return sign * a.localeCompare(b);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.sort;
      const rows = [...body.rows].sort((a, b) => compare(key(a), key(b), falling ? -1 : 1));
      body.append(...rows);
    });
  });
}

for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const large = button.closest("figure").classList.toggle("large");
    button.setAttribute("aria-pressed", String(large));
    button.querySelector(".hint").textContent = large ? "smaller" : "larger";
  });
}
