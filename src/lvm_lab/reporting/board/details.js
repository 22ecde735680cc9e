"use strict";
// What opens under a row: one run, or each run of a group after the other.

function detailsRow(data, record) {
  const inside = element("div", { class: "inside" }, ...record.members.flatMap((index) => runDetails(data.runs[index])));
  return element("tr", { class: "details" }, element("td", { colspan: data.columns.length }, inside));
}

function runDetails(run) {
  const nodes = [element("h2", {}, run.name)];
  if (run.error) nodes.push(element("pre", { class: "error" }, run.error));
  const said = [
    run.verdict && `5CAT ${run.preset}: ${run.verdict}${run.reason ? ` (${run.reason})` : ""}.`,
    run.checkpoint && `Numbers are of ${run.checkpoint}.`,
    run.cells.status === "missing" && "Not begun.",
  ];
  nodes.push(element("p", {}, said.filter(Boolean).join(" ")));
  for (const alarm of run.alarms) nodes.push(element("p", { class: "fail" }, alarm));
  if (run.data_gate.length) nodes.push(element("p", { class: "fail" }, `data gate: ${run.data_gate.join("; ")}`));
  for (const note of run.notes) nodes.push(element("p", { class: "quiet" }, note));
  if (run.links.length) nodes.push(element("p", {}, ...run.links.flatMap(([name, address]) =>
    [element("a", { href: address }, name), "  "])));
  const columns = [gatesPart(run), offsetsPart(run), curvesPart(run), baselinesPart(run), skillPart(run)];
  nodes.push(element("div", { class: "columns" }, ...columns.filter(Boolean)));
  if (run.config) nodes.push(element("details", {}, element("summary", {}, "config.yaml"), element("pre", {}, run.config)));
  else if (run.settings.length) nodes.push(element("pre", {}, run.settings.join("\n")));
  return nodes;
}

function part(title, ...nodes) {
  return element("section", {}, element("h3", {}, title), ...nodes);
}

function gatesPart(run) {
  if (!run.gates.length) return null;
  const rows = [];
  for (const gate of run.gates) {
    const state = { true: "pass", false: "fail", null: "null" }[String(gate.state)];
    // Its state is of both parts together.
    const head = element("td", {}, `${gate.letter} ${gate.name} `, element("span", { class: state }, state));
    rows.push(plainRow([head, "", "", "", "", "", "", gate.reason], { class: "gate" }));
    for (const [name, parts] of Object.entries(gate.numbers)) {
      // Gate E has one number for both parts.
      const ood = gate.letter === "E" ? undefined : parts.ood;
      rows.push([name, ...numberCells(parts.val), ...numberCells(ood), ""]);
    }
  }
  return part("Gates", plainTable(
    ["gate", "VAL", "95% interval", "threshold", "OOD", "95% interval", "threshold", ""], rows));
}

function numberCells(number) {
  if (!number || number.value === null) return ["", "", ""];
  const marked = number.threshold === undefined ? "" : number.passed ? "pass" : "fail";
  return [element("td", { class: "number" }, element("span", { class: marked }, fixed(number.value))),
    interval(number), `${fixed(number.threshold)}${number.undecided ? " undecided" : ""}`];
}

function offsetsPart(run) {
  const lines = [
    { name: "VAL", look: "best", points: run.offsets.val, reach: true },
    { name: "OOD", look: "open", points: run.offsets.ood, reach: true },
    { name: "copy-last on VAL", look: "beside", points: run.offsets.copy_last },
  ].filter((line) => line.points.length);
  if (!lines.length) return null;
  return part("Offsets: VAL blue, OOD orange and dashed, copy-last dotted",
    lineChart("cosine by offset", lines, "offset k (+1 is the target)", "mean cosine", OFFSETS));
}

function curvesPart(run) {
  const lines = [["val/loss", "best"], ["train/loss", "open"]].filter(([name]) => run.curves[name])
    .map(([name, look]) => ({ name, look, points: pointsOf(run, name) }));
  if (!lines.length) return null;
  return part("Loss: validation blue, training orange and dashed",
    lineChart("loss by epoch", lines, "epoch", "loss"));
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
    plainTable(["", ...heads, "gates"], rows.map((row) =>
      [row.name, ...row.values.map((value) => fixed(value)), `${row.passed ?? ""}/${row.of}`])),
    element("p", {}, "Lift over each, with its 95% interval over documents:"),
    plainTable(["over", ...heads], lifts.map((row) => [row.name, ...row.lifts.map(lift)])));
}

function skillPart(run) {
  const rows = Object.entries(run.skill).flatMap(([name, found]) => Object.entries(found).map(([key, number]) =>
    [name.toUpperCase(), key, signed(number.value), interval(number), `${number.over} ${fixed(number.baseline)}`]));
  if (!rows.length) return null;
  return part("Skill: share of the way from the best trivial baseline to 1",
    plainTable(["part", "number", "skill", "95% interval", "over"], rows));
}
