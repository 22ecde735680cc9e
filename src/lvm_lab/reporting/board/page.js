"use strict";
// What is shown, and what changes it.

const data = JSON.parse(byId("data").textContent);
const SELECTS = { arch: "arch", loss: "loss", "data-name": "data", status: "status", preset: "preset" };
const QUALITIES = ["A/margin", "A/cos", "B/mrr_unseen", "skill/A/cos", "skill/B/mrr_unseen", "passed"];
const CURVES = ["val/loss", "train/loss", "val/cos", "5cat/val/A/margin"];
const state = { column: data.columns[0], down: false, open: new Set() };
const records = {
  runs: data.runs.map((_, index) => runRecord(data, index)),
  groups: data.groups.map((group) => groupRecord(data, group)),
};
const tableRows = new Map();
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
    if (open) {
      if (!openRows.has(record)) openRows.set(record, detailsRow(data, record));
      rows.push(openRows.get(record));
    }
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
  tableRows.get(record)?.scrollIntoView({ block: "center" });
}

function figures(found) {
  const part = byId("part").value;
  const runs = found.flatMap((record) => record.members.map((index) => ({ index, record, run: data.runs[index] })));
  const look = (record, index) => (state.open.has(record) ? "open" : index === data.best ? "best" : "");
  const lines = (points) => runs.map(({ index, record, run }) =>
    ({ name: run.name, look: look(record, index), points: points(run) })).filter((line) => line.points.length);
  const quality = data.columns.find((column) => column.key === byId("quality").value);
  const against = (key, label) => scatter(label, found.map((record) => ({
    name: record.name,
    look: state.open.has(record) ? "open" : record.best ? "best" : "",
    passing: record.cells.preset === "pass" || record.cells.preset === 1,
    x: record.cells[key],
    y: record.cells[quality.key],
    reach: record.numbers[quality.key]?.[1],
    choose: () => reveal(record),
  })), label, quality.title);
  const curve = byId("curve").value;
  const named = quality.title;
  const drawings = [
    [`Offset curves (${part.toUpperCase()})`,
      lineChart("offset curves", lines((run) => run.offsets[part]), "offset k (+1 is the target)", "mean cosine", OFFSETS)],
    [`${named} against parameters`, against("params", "parameters (log)")],
    [`${named} against throughput`, against("throughput", "training windows a second (log)")],
    [`${curve} by epoch`, lineChart("curves by epoch", lines((run) => pointsOf(run, curve)), "epoch", curve)],
  ];
  byId("figures").replaceChildren(...drawings.map(([title, drawing]) =>
    element("figure", {}, element("figcaption", {}, title), drawing)));
  byId("heat").replaceChildren(...heatTable(runs, part, (index) =>
    reveal(current().find((record) => record.members.includes(index)))));
}

function start() {
  byId("name").textContent = data.name;
  byId("summary").textContent = data.summary;
  byId("read").textContent = `Read from the run folders at ${data.read}.`;
  byId("heads").append(...data.columns.map((column) => element("th", {
    scope: "col", class: `${column.key === "run" ? "run " : ""}${column.kind}`, title: column.says, "data-key": column.key,
  }, element("button", { type: "button", onclick: () => {
    // Numbers begin with the largest, places and texts with the first.
    const largest = ["number", "state", "whole"].includes(column.kind) && column.key !== "place";
    state.down = state.column === column ? !state.down : largest;
    state.column = column;
    show();
  } }, column.title))));
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
  show();
}

start();
