"use strict";

// A trial is lit wherever it stands: in every chart, in the table, among the grids.
function light(trial) {
  for (const one of document.querySelectorAll("[data-trial]")) {
    one.classList.toggle("lit", trial !== null && one.dataset.trial === trial);
  }
}

function tell(mark) {
  const chart = mark.closest("svg");
  const told = chart && chart.parentElement.nextElementSibling;
  if (told && told.classList.contains("told")) told.textContent = mark.getAttribute("aria-label");
}

function choose(event) {
  const mark = event.target.closest("[data-trial]");
  if (!mark) return;
  light(mark.dataset.trial);
  if (mark.classList.contains("mark")) tell(mark);
}

document.addEventListener("mouseover", choose);
document.addEventListener("focusin", choose);
document.addEventListener("mouseout", (event) => {
  if (event.target.closest("[data-trial]")) light(null);
});
document.addEventListener("focusout", () => light(null));

// A chart is one stop of the keyboard, and the arrow keys go through its trials, the best first.
for (const chart of document.querySelectorAll("svg.chart")) {
  const marks = [...chart.querySelectorAll(".mark[tabindex]")].reverse();
  if (marks.length) marks[0].tabIndex = 0;
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const here = marks.indexOf(document.activeElement);
    if (!step || here < 0) return;
    event.preventDefault();
    const next = marks[(here + step + marks.length) % marks.length];
    marks[here].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Numbers before texts, and what is empty last, whichever the direction.
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
      heads.forEach((one) => one.removeAttribute("aria-sort"));
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
