"use strict";
// Axes of the figures, in pixels: values to places, marks that do not touch each other, titles beside nothing else.

const CHARACTER = 6.6;
const PLOT = { top: 30, bottom: 46, right: 16, height: 290 };

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return low === high ? [low - Math.abs(low || 1) / 10, high + Math.abs(high || 1) / 10] : [low, high];
}

// A scale is {start, end, turn, marks: [value, text]}; turn makes a value linear.
function linear(values, smallestStep = 0) {
  const [low, high] = extent(values);
  const step = Math.max(smallestStep, niceStep((high - low) / 5));
  const [start, end] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  const marks = [];
  for (let i = 0; start + i * step <= end + step / 2; i += 1) marks.push(start + i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const far = Math.max(Math.abs(start), Math.abs(end)) >= 1e5 || digits > 4;
  return { start, end, turn: (v) => v, digits, marks: marks.map((v) => [v, far ? v.toExponential(1) : v.toFixed(digits)]) };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

// Offsets and epochs are whole; one epoch alone has one mark.
function whole(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) return { start: low - 1, end: low + 1, turn: (v) => v, marks: [[low, String(low)]] };
  const scale = linear(values, 1);
  return { ...scale, start: low, end: high, marks: scale.marks.filter(([v]) => v >= low && v <= high) };
}

function logarithmic(values) {
  const [low, high] = extent(values.map(Math.log10));
  const [start, end] = [low - (high - low) * 0.06, high + (high - low) * 0.06];
  const marks = [];
  const steps = end - start > 2.5 ? [1] : end - start > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
  for (let power = Math.floor(start); power <= end; power += 1) {
    for (const step of steps) marks.push(step * 10 ** power);
  }
  const inside = (list) => list.filter((v) => Math.log10(v) >= start && Math.log10(v) <= end);
  const round = inside(marks);
  if (round.length > 1) return { start, end, turn: Math.log10, marks: round.map((v) => [v, short(v)]) };
  // Values close together lie between two of them.
  const close = linear([10 ** start, 10 ** end]);
  return { start, end, turn: Math.log10, marks: inside(close.marks.map(([v]) => v)).map((v) => [v, grouped(v, close.digits)]) };
}

function short(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

// The frame of a figure `width` pixels wide; x and y turn values into places, plot clips what leaves the axes.
function frame(label, width, xScale, yScale, xTitle, yTitle) {
  const { top, bottom, right, height } = PLOT;
  const left = 14 + CHARACTER * Math.max(...yScale.marks.map(([, text]) => text.length));
  const along = (scale, from, to) => (v) => from + ((scale.turn(v) - scale.start) / (scale.end - scale.start)) * (to - from);
  const x = along(xScale, left + 10, width - right - 10);
  const y = along(yScale, height - bottom, top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label });
  for (const [value, text] of yScale.marks) {
    svg.append(
      drawn("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      drawn("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  let free = -Infinity;
  for (const [value, text] of xScale.marks) {
    const [middle, half] = [x(value), (CHARACTER * text.length) / 2];
    svg.append(drawn("line", { class: "axis", x1: middle, x2: middle, y1: height - bottom, y2: height - bottom + 4 }));
    if (middle - half < free) continue;
    free = middle + half + 8;
    svg.append(drawn("text", { class: "tick", x: middle, y: height - bottom + 17, "text-anchor": "middle" }, text));
  }
  svg.append(
    drawn("text", { class: "title", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xTitle),
    drawn("text", { class: "title", x: 2, y: 12 }, yTitle));
  const inside = { x: left, y: top - 7, width: width - right - left, height: height - bottom - top + 14 };
  const plot = drawn("svg", { class: "plot", ...inside, viewBox: `${inside.x} ${inside.y} ${inside.width} ${inside.height}` });
  svg.append(plot);
  return { svg, plot, x, y };
}
