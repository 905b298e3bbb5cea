"use strict";

const page = document.body.dataset.page;
const pairs = [...document.querySelectorAll("#pairs li")].map((pair) =>
  [...pair.querySelectorAll("img")].map((image) => image.src),
);
// A random id of this sheet of votes, so that a sheet that is saved twice counts once.
const sheet = [...crypto.getRandomValues(new Uint8Array(8))]
  .map((byte) => byte.toString(16).padStart(2, "0"))
  .join("");
const votes = [];
let savedVotes = 0;
let shownAt = 0;

function element(name) {
  return document.getElementById(name);
}

function show() {
  const over = votes.length === pairs.length;
  element("question").hidden = over;
  element("done").hidden = !over;
  element("bar").value = votes.length;
  element("count").textContent = over
    ? `${pairs.length} of ${pairs.length}`
    : `pair ${votes.length + 1} of ${pairs.length}`;
  element("back").disabled = votes.length === 0;
  element("save").disabled = votes.length === 0;
  element("save").textContent = over ? "Save the votes" : "Save the votes so far";
  if (over) {
    element("save").focus();
    return;
  }
  const images = document.querySelectorAll(".side img");
  images.forEach((image, side) => { image.src = pairs[votes.length][side]; });
  shownAt = performance.now();
}

function choose(choice) {
  if (votes.length === pairs.length) return;
  const seconds = Math.round((performance.now() - shownAt) / 100) / 10;
  votes.push({ pair: votes.length, choice, seconds });
  show();
}

function back() {
  if (!votes.pop()) return;
  savedVotes = Math.min(savedVotes, votes.length); // the next vote is not saved yet
  show();
}

function save() {
  const voter = element("voter").value.trim();
  const content = { format: "fastgan-ray-votes-1", page, sheet, voter, votes };
  const name = `votes-${page}-${sheet}.json`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  savedVotes = votes.length;
  element("saved").textContent =
    `${name} with ${votes.length} vote${votes.length === 1 ? "" : "s"} is in your download folder. ` +
    `Add it to the results with: fastgan-ray vote RUN --add ${name}`;
}

for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
element("back").addEventListener("click", back);
element("save").addEventListener("click", save);

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === element("voter")) return;
  const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equal" }[event.key];
  if (!choice && event.key !== "Backspace") return;
  event.preventDefault();
  if (choice) choose(choice);
  else back();
});

// Votes exist only on this page until they are saved.
window.addEventListener("beforeunload", (event) => {
  if (votes.length > savedVotes) event.preventDefault();
});

show();
