"use strict";

// Tables: a click on a header sorts the rows of that table, the better end first; a second click turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, index) => header.querySelector("button").addEventListener("click", () => sortBy(table, headers, index)));
}

function sortBy(table, headers, index) {
  const header = headers[index];
  const first = header.querySelector("button").dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  headers.forEach((each) => each.setAttribute("aria-sort", each === header ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [left, right] = [a.cells[index].dataset.value, b.cells[index].dataset.value];
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined); // empty cells last
    if (index === 0) return sign * left.localeCompare(right, undefined, { numeric: true });
    return sign * (number(left) - number(right));
  });
  table.tBodies[0].append(...rows);
}

function number(text) { // Python writes infinity as "inf"
  return text === "inf" ? Number.MAX_VALUE : text === "-inf" ? -Number.MAX_VALUE : Number(text);
}

// Sounds: one plays at a time, and all sounds of a clip share a position.
let latest = null;
for (const clip of document.querySelectorAll(".clip")) {
  const sounds = [...clip.querySelectorAll("audio")];
  let position = 0;
  for (const sound of sounds) {
    const card = sound.closest(".player");
    const playing = () => sounds.find((other) => other !== sound && !other.paused);
    sound.addEventListener("play", () => {
      if (playing()) position = playing().currentTime;
      for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
      if (Math.abs(sound.currentTime - position) > 0.05) seek(sound, position);
      card.classList.add("playing");
      latest = sound;
    });
    sound.addEventListener("pause", () => {
      card.classList.remove("playing");
      if (!playing() && !sound.ended) position = sound.currentTime;
    });
    sound.addEventListener("timeupdate", () => { if (!sound.paused) position = sound.currentTime; });
    sound.addEventListener("seeking", () => { if (sound.paused) position = sound.currentTime; });
    sound.addEventListener("ended", () => { position = 0; sound.currentTime = 0; });
    card.querySelector(".switch").addEventListener("click", () => play(sound));
  }
}

function seek(sound, seconds) {
  if (sound.readyState > 0) sound.currentTime = seconds;
  else sound.addEventListener("loadedmetadata", () => { sound.currentTime = seconds; }, { once: true });
}

function play(sound) {
  sound.play().catch(() => {}); // interrupted by the next switch
}

document.addEventListener("keydown", (event) => {
  if (!latest || event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^[0-9]$/.test(event.key)) {
    const target = latest.closest(".clip").querySelector(`audio[data-key="${event.key}"]`);
    if (target) play(target);
  } else if (event.key === " " && !event.target.closest("button, audio, summary, a")) {
    event.preventDefault();
    if (latest.paused) play(latest); else latest.pause();
  }
});
