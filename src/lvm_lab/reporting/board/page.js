"use strict";
// What is shown, and what changes it.

const data = JSON.parse(byId("data").textContent);
const SELECTS = { arch: "arch", loss: "loss", "data-name": "data", status: "status", preset: "preset" };
const [READABLE, GAP] = [440, 24];
const state = { column: data.columns[0], down: false, open: new Set() };
const records = {
  runs: data.runs.map((_, index) => runRecord(data, index)),
  groups: data.groups.map((group) => groupRecord(data, group)),
};
const tableRows = new Map();
const reasonRows = new Map();
const openRows = new Map();

for (const run of data.runs) {
  const cells = [run.name, run.cells.arch, run.cells.loss, run.cells.data, run.cells.status, run.error];
  run.searched = cells.filter(Boolean).join(" ").toLowerCase();
}

function current() {
  return byId("grouped").checked ? records.groups : records.runs;
}

function shown() {
  const matches = matcher(byId("text").value, data.columns);
  const asked = Object.entries(SELECTS).map(([id, key]) => [key, byId(id).value]).filter(([, value]) => value);
  const kept = (index) => {
    const run = data.runs[index];
    return asked.every(([key, value]) => run.cells[key] === value) && matches(run);
  };
  return current().filter((record) => record.members.some(kept)).sort(compareBy(state.column, state.down));
}

function show() {
  const found = shown();
  const rows = [];
  for (const record of found) {
    if (!tableRows.has(record)) tableRows.set(record, tableRow(data, record, toggle));
    const row = tableRows.get(record);
    const open = state.open.has(record);
    row.querySelector(".run button").setAttribute("aria-expanded", String(open));
    rows.push(row);
    if (!reasonRows.has(record)) reasonRows.set(record, reasonRow(data, record));
    if (open) {
      if (!openRows.has(record)) openRows.set(record, detailsRow(data, record, byId("board").clientWidth - 40));
      rows.push(openRows.get(record));
    } else if (reasonRows.get(record)) rows.push(reasonRows.get(record));
  }
  if (!rows.length) {
    rows.push(element("tr", {}, element("td", { class: "empty", colspan: data.columns.length },
      element("div", { class: "inside" }, "No run matches. Clear the filter to see all."))));
  }
  byId("rows").replaceChildren(...rows);
  byId("count").textContent = `${found.length} of ${current().length}`;
  for (const head of byId("heads").children) {
    const way = state.down ? "descending" : "ascending";
    head.setAttribute("aria-sort", head.dataset.key === state.column.key ? way : "none");
  }
  figures(found);
}

function toggle(record) {
  if (!state.open.delete(record)) state.open.add(record);
  // Rows are put back into their places, so the focus would be lost.
  const focused = document.activeElement;
  show();
  if (focused instanceof HTMLElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function reveal(record) {
  if (!state.open.has(record)) toggle(record);
  const row = tableRows.get(record);
  row?.scrollIntoView({ block: "start" });
  row?.querySelector(".run button").focus({ preventScroll: true });
}

function figures(found) {
  const part = byId("part").value;
  const quality = data.columns.find((column) => column.key === byId("quality").value);
  const width = figureWidth();
  const drawings = figureList(data, found, { part, quality, curve: byId("curve").value },
    { reveal, isOpen: (record) => state.open.has(record), width });
  byId("figures").style.setProperty("--figure", `${width}px`);
  byId("figures").replaceChildren(...drawings.map(([title, drawing]) =>
    element("figure", {}, element("figcaption", {}, title), drawing)));
  const runs = found.flatMap((record) => record.members.map((index) => ({ index, run: data.runs[index] })));
  byId("heat").replaceChildren(...heatTable(runs, part, (index) =>
    reveal(current().find((record) => record.members.includes(index)))));
  byId("heat-note").textContent = heatNote(runs);
}

// As many beside each other as are readable, none wider than the page.
function figureWidth() {
  const room = byId("figures").clientWidth;
  const count = Math.max(1, Math.floor((room + GAP) / (READABLE + GAP)));
  return Math.min(WIDEST, Math.floor((room - (count - 1) * GAP) / count));
}

function sortBy(column) {
  // Numbers begin with the largest, places and texts with the first.
  const largest = ["number", "state", "whole"].includes(column.kind) && column.key !== "place";
  state.down = state.column === column ? !state.down : largest;
  state.column = column;
  show();
}

function start() {
  byId("name").textContent = data.name;
  byId("summary").textContent = data.summary;
  byId("read").textContent = `Read from the run folders at ${data.read}.`;
  byId("heads").append(...data.columns.map((column) => columnHead(column, sortBy)));
  byId("meanings").append(...data.columns.flatMap((column) =>
    [element("dt", {}, column.title), element("dd", {}, column.says)]));
  for (const [id, key] of Object.entries(SELECTS)) {
    const found = [...new Set(data.runs.map((run) => run.cells[key]).filter(Boolean))].sort(collator.compare);
    byId(id).append(element("option", { value: "" }, "all"), ...found.map((name) => element("option", { value: name }, name)));
  }
  byId("quality").append(...QUALITIES.map((key) => {
    const column = data.columns.find((c) => c.key === key);
    return element("option", { value: key }, column.title);
  }));
  byId("curve").append(...CURVES.map((name) => element("option", { value: name }, name)));
  for (const form of ["controls", "choices"]) {
    byId(form).addEventListener("submit", (event) => event.preventDefault());
    byId(form).addEventListener("input", show);
    // The fields are empty only after the event.
    byId(form).addEventListener("reset", () => setTimeout(show));
  }
  byId("all-columns").addEventListener("change", (event) => byId("table").classList.toggle("all", event.target.checked));
  for (const box of document.querySelectorAll(".frame")) hinted(box);
  let drawnFor = window.innerWidth;
  window.addEventListener("resize", () => {
    // On a telephone the height alone changes with every scroll.
    if (window.innerWidth === drawnFor) return;
    drawnFor = window.innerWidth;
    openRows.clear();
    requestAnimationFrame(show);
  });
  show();
}

start();
