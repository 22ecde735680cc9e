"use strict";
// Figures as inline SVG. A figure's frame turns values into places; a line or a point carries its run's name.

const SIZE = { width: 560, height: 300, left: 52, right: 14, top: 10, bottom: 40 };

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return low === high ? [low - Math.abs(low || 1) / 10, high + Math.abs(high || 1) / 10] : [low, high];
}

function linear(values, from, to, smallestStep = 0) {
  const [low, high] = extent(values);
  const step = Math.max(smallestStep, niceStep((high - low) / 5));
  const [start, end] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const marks = [];
  for (let i = 0; start + i * step <= end + step / 2; i += 1) marks.push(start + i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return { at: (v) => from + ((v - start) / (end - start)) * (to - from), marks: marks.map((v) => [v, v.toFixed(digits)]) };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

function logarithmic(values, from, to) {
  const [low, high] = extent(values.map(Math.log10));
  const [start, end] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const marks = [];
  const steps = end - start > 2.5 ? [1] : end - start > 1 ? [1, 3] : [1, 2, 3, 5, 7];
  for (let power = Math.floor(start); power <= end; power += 1) {
    for (const step of steps) {
      const place = power + Math.log10(step);
      if (place >= start && place <= end) marks.push([step * 10 ** power, short(step * 10 ** power)]);
    }
  }
  return { at: (v) => from + ((Math.log10(v) - start) / (end - start)) * (to - from), marks };
}

function short(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

function frame(label, x, y, xTitle, yTitle) {
  const { width, height, left, right, top, bottom } = SIZE;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const [value, text] of y.marks) {
    const place = y.at(value);
    svg.append(
      drawn("line", { class: "axis", x1: left, x2: width - right, y1: place, y2: place }),
      drawn("text", { x: left - 6, y: place + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of x.marks) {
    svg.append(drawn("text", { x: x.at(value), y: height - bottom + 16, "text-anchor": "middle" }, text));
  }
  svg.append(
    drawn("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle),
    drawn("text", { x: 12, y: (top + height - bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 12 ${(top + height - bottom) / 2})` }, yTitle));
  return svg;
}

// Offsets and epochs are whole.
function across(values) { return linear(values, SIZE.left + 6, SIZE.width - SIZE.right - 6, 1); }
function acrossLog(values) { return logarithmic(values, SIZE.left + 6, SIZE.width - SIZE.right - 6); }
function upwards(values) { return linear(values, SIZE.height - SIZE.bottom, SIZE.top); }

// lines: {name, look, points: [x, y, low, high]}; those that stand out are drawn last.
function lineChart(label, lines, xTitle, yTitle, marks) {
  const points = lines.flatMap((line) => line.points).filter((point) => point[1] !== null);
  if (!points.length) return nothing();
  const x = across(points.map((p) => p[0]));
  if (marks) x.marks = marks;
  const y = upwards(points.flatMap((p) => [p[1], ...p.slice(2).filter((v) => v !== null && v !== undefined)]));
  const svg = frame(label, x, y, xTitle, yTitle);
  const heavy = (line) => (line.look === "best") + 2 * (line.look === "open");
  for (const line of [...lines].sort((a, b) => heavy(a) - heavy(b))) {
    const there = line.points.filter((point) => point[1] !== null);
    if (!there.length) continue;
    const path = there.map((p, i) => `${i ? "L" : "M"}${x.at(p[0]).toFixed(1)} ${y.at(p[1]).toFixed(1)}`).join("");
    svg.append(drawn("path", { class: `run-line ${line.look}`, d: there.length > 1 ? path : `${path}h.1`,
      "stroke-linecap": "round" }, drawn("title", {}, line.name)));
    for (const [place, , low, high] of line.reach ? there : []) {
      if (low === null || high === null) continue;
      svg.append(drawn("line", { class: `run-line ${line.look}`, x1: x.at(place), x2: x.at(place), y1: y.at(low), y2: y.at(high) }));
    }
  }
  return svg;
}

// points: {name, look, passing, x, y, reach, choose}.
function scatter(label, points, xTitle, yTitle) {
  const there = points.filter((p) => p.x > 0 && typeof p.y === "number");
  if (!there.length) return nothing();
  const x = acrossLog(there.map((p) => p.x));
  const y = upwards(there.flatMap((p) => [p.y - (p.reach ?? 0), p.y + (p.reach ?? 0)]));
  const svg = frame(label, x, y, xTitle, yTitle);
  const heavy = (point) => Boolean(point.look);
  for (const point of there.sort((a, b) => heavy(a) - heavy(b))) {
    const [left, top] = [x.at(point.x), y.at(point.y)];
    if (point.reach) {
      svg.append(drawn("line", { class: "reach", x1: left, x2: left, y1: y.at(point.y - point.reach), y2: y.at(point.y + point.reach) }));
    }
    svg.append(drawn("circle", { class: `point ${point.look}${point.passing ? " passing" : ""}`, cx: left, cy: top, r: 4.5,
      onclick: point.choose }, drawn("title", {}, `${point.name}: ${fixed(point.y)}`)));
    if (point.look === "best") svg.append(drawn("text", { x: left + 8, y: top - 6 }, "★"));
  }
  return svg;
}

function nothing() {
  return element("p", { class: "quiet" }, "No row above has these numbers.");
}

function offsetMark(k) { return [k, k > 0 ? `+${k}` : String(k)]; }
const OFFSETS = [-3, -2, -1, 0, 1, 2, 3].map(offsetMark);

function heatTable(runs, part, choose) {
  const names = new Map();
  for (const { run } of runs) {
    for (const gate of run.gates) {
      for (const [name, parts] of Object.entries(gate.numbers)) {
        if (parts[part]) names.set(`${gate.letter} ${name}`, [gate.letter, name]);
      }
    }
  }
  const heads = [...names].sort(([, a], [, b]) => a[0].localeCompare(b[0]));
  const rows = runs.filter(({ run }) => run.gates.length).map(({ run, index }) => {
    const key = `${part} ${index} ${heads.map(([head]) => head)}`;
    if (!heatRows.has(key)) heatRows.set(key, heatRow(run, part, heads, () => choose(index)));
    return heatRows.get(key);
  });
  return [
    element("thead", {}, element("tr", {}, element("th", { class: "run", scope: "col" }, "run"),
      ...heads.map(([head]) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows)];
}

// Hundreds of rows are made once and moved after that.
const heatRows = new Map();

function heatRow(run, part, heads, choose) {
  const gates = new Map(run.gates.map((gate) => [gate.letter, gate]));
  return element("tr", {}, element("td", { class: "run" }, element("button", { type: "button", onclick: choose }, run.name)),
    ...heads.map(([, [letter, name]]) => heatCell(gates.get(letter)?.numbers[name]?.[part])));
}

// A fifth from the threshold is as strong as it gets; a threshold of .05 and one of .95 are looked at alike.
function heatCell(number) {
  if (!number || number.value === null) return element("td", { class: "value" }, "");
  const mark = `${number.passed ? "✓" : "✗"}${number.undecided ? "?" : ""}`;
  const cell = element("td", { class: `value ${number.passed ? "reached" : "missed"}`,
    title: `threshold ${fixed(number.threshold)}, interval ${interval(number)}` }, `${fixed(number.value)} ${mark}`);
  const strength = 0.12 + 0.5 * Math.min(1, Math.abs(number.value - number.threshold) / 0.2);
  cell.style.setProperty("--strength", strength.toFixed(2));
  return cell;
}
