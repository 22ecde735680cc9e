"use strict";
// The leaderboard's rows: a record is one run, or runs that differ in their seed alone.

function runRecord(data, index) {
  const run = data.runs[index];
  const pool = data.runs.find((other) => other.name === run.pool);
  return { name: run.name, cells: run.cells, numbers: {}, members: [index], best: index === data.best, pool };
}

function groupRecord(data, group) {
  const [first] = group.members;
  if (group.members.length === 1) return { ...runRecord(data, first), folds: group.folds };
  const runs = group.members.map((index) => data.runs[index]);
  const cells = { ...runs[0].cells, run: group.name };
  for (const [key, [mean]] of Object.entries(group.numbers)) cells[key] = mean;
  const places = runs.map((run) => run.cells.place).filter((place) => place !== null);
  cells.place = places.length ? Math.min(...places) : null;
  cells.seed = cells.epochs = null;
  const counts = new Map();
  for (const run of runs) counts.set(run.cells.status, (counts.get(run.cells.status) ?? 0) + 1);
  cells.status = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  return { name: group.name, cells, numbers: group.numbers, members: group.members, folds: group.folds, best: group.members.includes(data.best) };
}

function cellText(column, record) {
  const value = record.cells[column.key];
  if (value === null || value === undefined) return "";
  const spread = record.numbers[column.key];
  if (spread) {
    const [mean, deviation, count] = spread;
    if (column.kind === "state") return `${Math.round(mean * count)}/${count}`;
    if (column.key !== "place" && column.key !== "week") {
      const digits = column.kind === "whole" && !Number.isInteger(mean) ? 1 : column.digits;
      return deviation ? `${fixed(mean, digits)} ± ${fixed(deviation, Math.max(digits, 1))}` : grouped(mean, digits);
    }
  }
  if (column.kind === "number") return column.digits ? fixed(value, column.digits) : grouped(value, 0);
  return column.kind === "whole" ? grouped(value, 0) : String(value);
}

const STATE_ORDER = { pass: 1, null: 0.5, fail: 0, off: -1 };

// Empty cells stay at the end whichever way a column is sorted.
function compareBy(column, down) {
  const value = (record) => {
    // A fold stands below its pool.
    const above = column.key === "place" && record.pool ? record.pool.cells.place : null;
    if (above !== null) return above + 0.5;
    const cell = record.cells[column.key];
    return column.kind === "state" && typeof cell === "string" ? STATE_ORDER[cell] : cell ?? null;
  };
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x), String(y));
    return down ? -order : order;
  };
}

const collator = new Intl.Collator("en", { numeric: true });

// A filter's words: margin>0.1 and A=pass ask a column, anything else is looked for in the texts.
function matcher(text, columns) {
  const plain = (name) => name.toLowerCase().replace(/[\s_]/g, "");
  const tests = text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const asked = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(word);
    const column = asked && columns.find((c) => plain(c.key) === plain(asked[1]) || plain(c.title) === plain(asked[1]));
    if (!column) return (run) => run.searched.includes(word);
    const [, , sign, wanted] = asked;
    return (run) => holds(run.cells[column.key], sign, wanted);
  });
  return (run) => tests.every((test) => test(run));
}

function holds(cell, sign, wanted) {
  if (cell === null || cell === undefined) return false;
  if (typeof cell === "string") return sign === "=" && cell.toLowerCase() === wanted;
  const limit = Number(wanted);
  return { "<": cell < limit, ">": cell > limit, "<=": cell <= limit, ">=": cell >= limit, "=": cell === limit }[sign];
}

function tableRow(data, record, toggle) {
  const row = element("tr", { class: `run-row${record.best ? " best" : ""}`, onclick: (event) => {
    // A selected text is not a wish for details.
    if (!event.target.closest("a") && !String(window.getSelection())) toggle(record);
  } });
  for (const column of data.columns) {
    const text = cellText(column, record);
    const look = `${column.key === "run" ? "run" : column.kind} ${column.short ? "" : "long"}`.trim();
    if (column.key === "run") {
      const button = element("button", { type: "button", "aria-expanded": "false" }, breakable(text));
      row.append(element("td", { class: look }, button, record.best ? " ★ best" : null));
    } else {
      const marked = (column.kind === "state" || column.key === "status") && /^\w+$/.test(text);
      row.append(element("td", { class: look }, marked ? element("span", { class: text }, text) : breakable(text)));
    }
  }
  return row;
}

// What went wrong stands under the row, and whole in its details; nothing where nothing did.
function reasonRow(data, record) {
  const wrong = record.members.map((index) => data.runs[index]).filter((run) => run.error);
  if (!wrong.length) return null;
  const reasons = wrong.map((run) => `${record.members.length > 1 ? `${run.name} ` : ""}${run.cells.status}: ${run.error}`);
  return element("tr", { class: "reason" }, element("td", { colspan: data.columns.length },
    element("div", { class: "inside" }, ...reasons.map((reason) => element("p", { class: "clamped" }, reason)))));
}

function columnHead(column, sort) {
  const look = `${column.key === "run" ? "run " : ""}${column.kind}${column.short ? "" : " long"}`;
  return element("th", { scope: "col", class: look, title: column.says, "data-key": column.key },
    element("button", { type: "button", onclick: () => sort(column) }, column.title));
}
