"use strict";
// What opens under a row: one run, or each run of a group after the other.

// Beside the gates' table on a page of 1,280 pixels.
const NARROW = 440;

function detailsRow(data, record, width) {
  const runs = [...record.members, ...(record.folds ?? [])].flatMap((index) => runDetails(data.runs[index], Math.min(width, NARROW)));
  return element("tr", { class: "details" }, element("td", { colspan: data.columns.length }, element("div", { class: "inside" }, ...runs)));
}

function runDetails(run, width) {
  const nodes = [element("h2", {}, run.name)];
  if (run.error) nodes.push(element("pre", { class: "error" }, run.error));
  const said = [
    run.verdict && `5CAT ${run.preset}: ${run.verdict}${run.reason ? ` (${run.reason})` : ""}.`,
    run.checkpoint && `Numbers are of ${run.checkpoint}.`,
    run.cells.preset === "off" && "Not judged, since it was trained with 5cat=off: lvm-lab evaluate judges its checkpoint.",
    run.cells.status === "missing" && "Not begun.",
    run.cells.status === "started" && "Cut off before its end: the same command goes on with it.",
    run.cells.status === "running" && "Still at work: make this page anew to see its end.",
  ];
  nodes.push(element("p", {}, said.filter(Boolean).join(" ")));
  for (const alarm of run.alarms) nodes.push(element("p", { class: "fail" }, alarm));
  if (run.data_gate.length) nodes.push(element("p", { class: "fail" }, `data gate: ${run.data_gate.join("; ")}`));
  for (const note of run.notes) nodes.push(element("p", { class: "quiet" }, note));
  if (run.links.length) nodes.push(element("p", { class: "links" }, ...run.links.map(([name, address]) => element("a", { href: address }, name))));
  const columns = [gatesPart(run), offsetsPart(run, width), curvesPart(run, width), baselinesPart(run), skillPart(run)];
  nodes.push(element("div", { class: "columns" }, ...columns.filter(Boolean)));
  if (run.config) nodes.push(element("details", {}, element("summary", {}, "config.yaml"), element("pre", {}, run.config)));
  else if (run.settings.length) nodes.push(element("pre", {}, run.settings.join("\n")));
  return nodes;
}

function part(title, ...nodes) {
  return element("section", {}, element("h3", {}, title), ...nodes);
}

function legend(text) {
  return element("p", { class: "quiet" }, text);
}

function gatesPart(run) {
  if (!run.gates.length) return null;
  const rows = [];
  for (const gate of run.gates) {
    const state = { true: "pass", false: "fail", null: "null" }[String(gate.state)];
    // Its state is of both parts together.
    const head = [element("strong", {}, `${gate.letter} ${gate.name} `, element("span", { class: state }, state)),
      gate.reason && element("span", { class: "why" }, ` ${gate.reason}`)];
    rows.push(element("tr", { class: "gate" }, element("th", { colspan: 7, scope: "rowgroup" }, element("div", {}, ...head))));
    for (const [name, parts] of Object.entries(gate.numbers)) {
      // Gate E has one number for both parts.
      const ood = gate.letter === "E" ? undefined : parts.ood;
      rows.push([name, ...numberCells(parts.val), ...numberCells(ood)]);
    }
  }
  return part("Gates", boxed("gates", ["number", "VAL", "95% interval", "threshold", "OOD", "95% interval", "threshold"], rows));
}

function boxed(label, heads, rows) {
  return scrollBox(label, plainTable(heads, rows));
}

function numberCells(number) {
  if (!number || number.value === null) return ["", "", ""];
  const marked = number.threshold === undefined ? "" : number.passed ? "pass" : "fail";
  return [element("td", { class: "number" }, element("span", { class: marked }, fixed(number.value))),
    interval(number), `${fixed(number.threshold)}${number.undecided ? " undecided" : ""}`];
}

function offsetsPart(run, width) {
  const lines = [
    { name: "VAL", look: "best", points: run.offsets.val, reach: true },
    { name: "OOD", look: "open", points: run.offsets.ood, reach: true },
    { name: "copy-last on VAL", look: "beside", points: run.offsets.copy_last },
  ].filter((line) => line.points.length);
  if (!lines.length) return null;
  return part("Offsets", legend("VAL blue, OOD orange and dashed, copy-last dotted"), lineChart({ label: "cosine by offset", lines,
    xTitle: "offset k (+1 is the target)", yTitle: "mean cosine", width, marks: OFFSETS, spoken: 1 }));
}

function curvesPart(run, width) {
  const lines = [["val/loss", "best"], ["train/loss", "open"]].filter(([name]) => run.curves[name])
    .map(([name, look]) => ({ name, look, points: pointsOf(run, name) })).filter((line) => line.points.length);
  if (!lines.length) return null;
  if (lines.every((line) => line.points.length === 1)) {
    // One epoch makes no curve.
    return part("Loss after its only epoch", plainTable(["", run.cells.loss ?? "loss"], lines.map((line) => [line.name, amount(line.points[0][1])])));
  }
  return part("Loss", legend("validation blue, training orange and dashed"), lineChart({ label: "loss by epoch", lines,
    xTitle: "epoch", yTitle: run.cells.loss ?? "loss", width }));
}

function pointsOf(run, name) {
  const values = run.curves[name] ?? [];
  return run.curves.epoch.map((epoch, i) => [epoch + 1, values[i] ?? null]).filter((p) => p[1] !== null);
}

function baselinesPart(run) {
  const { heads, rows } = run.baselines;
  if (!rows.length) return null;
  const lifts = rows.filter((row) => row.lifts.some(Boolean));
  const lift = (number) => {
    if (!number) return "";
    const p = number.p_holm ?? number.p;
    return `${signed(number.value)} (${interval(number)})${p === undefined || p === null ? "" : ` p ${fixed(p)}`}`;
  };
  return part("Beside what it had to beat (VAL)",
    boxed("baselines", ["predictor", ...heads, "gates"], rows.map((row) =>
      [row.name, ...row.values.map((value) => fixed(value)), `${row.passed ?? ""}/${row.of}`])),
    element("p", {}, "Lift over each, with its 95% interval over documents:"),
    boxed("lifts", ["over", ...heads], lifts.map((row) => [row.name, ...row.lifts.map(lift)])));
}

function skillPart(run) {
  const rows = Object.entries(run.skill).flatMap(([name, found]) => Object.entries(found).map(([key, number]) =>
    [name.toUpperCase(), key, signed(number.value), interval(number), `${number.over} ${fixed(number.baseline)}`]));
  if (!rows.length) return null;
  return part("Skill: share of the way from the best trivial baseline to 1",
    boxed("skill", ["part", "number", "skill", "95% interval", "over"], rows));
}
