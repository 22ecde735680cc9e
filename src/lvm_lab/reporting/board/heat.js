"use strict";
// Every number of a gate against its threshold, a row a run.

// Hundreds of rows are made once and moved after that.
const heatRows = new Map();

function heatTable(runs, part, choose) {
  const names = new Map();
  for (const { run } of runs) {
    for (const gate of run.gates) {
      for (const [name, parts] of Object.entries(gate.numbers)) {
        if (!parts[part]) continue;
        const key = `${gate.letter} ${name}`;
        if (!names.has(key)) names.set(key, { letter: gate.letter, name, thresholds: new Set() });
        if (typeof parts[part].threshold === "number") names.get(key).thresholds.add(fixed(parts[part].threshold));
      }
    }
  }
  const heads = [...names].sort(([, a], [, b]) => a.letter.localeCompare(b.letter));
  const rows = runs.filter(({ run }) => run.gates.length).map(({ run, index }) => {
    const key = `${part} ${index} ${heads.map(([head]) => head)}`;
    if (!heatRows.has(key)) heatRows.set(key, heatRow(run, part, heads, () => choose(index)));
    return heatRows.get(key);
  });
  if (!rows.length) return [element("tbody", {}, element("tr", {}, element("td", { class: "empty" }, "No row above was judged.")))];
  const limits = heads.map(([, { thresholds }]) => (thresholds.size === 1 ? [...thresholds][0] : thresholds.size ? "several" : ""));
  return [
    element("thead", {},
      element("tr", {}, element("th", { class: "run", scope: "col" }, "run"),
        ...heads.map(([head]) => element("th", { scope: "col", class: "number" }, head))),
      element("tr", { class: "limits" }, element("th", { class: "run", scope: "row" }, "threshold"),
        ...limits.map((limit) => element("td", { class: "number" }, limit)))),
    element("tbody", {}, ...rows)];
}

function heatRow(run, part, heads, choose) {
  const gates = new Map(run.gates.map((gate) => [gate.letter, gate]));
  return element("tr", {}, element("th", { class: "run", scope: "row" }, element("button", { type: "button", onclick: choose }, breakable(run.name))),
    ...heads.map(([, { letter, name }]) => heatCell(gates.get(letter)?.numbers[name]?.[part])));
}

// A fifth from the threshold is as strong as it gets; a threshold of .05 and one of .95 are looked at alike.
function heatCell(number) {
  if (!number || number.value === null) return element("td", { class: "value" }, "");
  if (typeof number.threshold !== "number") return element("td", { class: "value" }, fixed(number.value));
  const mark = `${number.passed ? "✓" : "✗"}${number.undecided ? "?" : ""}`;
  const cell = element("td", { class: `value ${number.passed ? "reached" : "missed"}`,
    title: `threshold ${fixed(number.threshold)}, interval ${interval(number)}` }, `${fixed(number.value)} ${mark}`);
  const strength = Math.min(1, 0.2 + 0.8 * Math.min(1, Math.abs(number.value - number.threshold) / 0.2));
  cell.style.setProperty("--strength", strength.toFixed(2));
  return cell;
}

// Which of the rows are not in the table, counted by why.
function heatNote(runs) {
  const counts = new Map();
  for (const { run } of runs) {
    if (run.gates.length) continue;
    const reason = notJudged(run);
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts.size ? `Not judged: ${[...counts].map(([reason, count]) => `${count} ${reason}`).join(", ")}.` : "";
}

function notJudged(run) {
  return run.cells.preset === "off" ? "5cat=off" : run.cells.status;
}
