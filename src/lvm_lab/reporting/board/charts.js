"use strict";
// Figures as inline SVG, drawn as wide as they stand, so that their texts keep their size on a telephone.

const OFFSETS = [-3, -2, -1, 0, 1, 2, 3].map((k) => [k, signedWhole(k)]);

function signedWhole(k) { return k > 0 ? `+${k}` : String(k); }

// lines: {name, look, points: [x, y, low, high], reach, away, choose}; those that stand out are drawn last.
// away: it may leave the axes, as a diverged run's loss does. spoken: the x whose value is told with the name alone.
// across: y values of figures beside this one, which have the same axis.
function lineChart({ label, lines, xTitle, yTitle, width, marks, spoken, across = [] }) {
  const measured = lines.map((line) => ({ ...line, points: line.points.filter((p) => typeof p[1] === "number") }))
    .filter((line) => line.points.length);
  if (!measured.length) return nothing();
  const bounding = measured.filter((line) => !line.away);
  const points = (bounding.length ? bounding : measured).flatMap((line) => line.points);
  const xScale = whole(measured.flatMap((line) => line.points.map((p) => p[0])));
  if (marks) xScale.marks = marks;
  const yScale = linear(points.flatMap((p) => [p[1], ...p.slice(2).filter((v) => typeof v === "number")]).concat(across));
  const { svg, plot, x, y } = frame(label, width, xScale, yScale, xTitle, yTitle);
  // What is far off is drawn at the edge of what can be drawn.
  const top = (value) => Math.max(-1e4, Math.min(1e4, y(value)));
  const heavy = (line) => (line.look === "best") + 2 * (line.look === "open");
  const named = measured.map((line) => {
    const places = line.points.map((p) => [x(p[0]), top(p[1])]);
    const node = places.length > 1
      ? drawn("path", { class: `run-line ${line.look}`, d: places.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("") })
      : drawn("circle", { class: `run-line single ${line.look}`, cx: places[0][0], cy: places[0][1], r: 4.5 });
    const text = (place) => {
      const told = line.points.findIndex((p) => p[0] === spoken);
      const [at, value] = line.points[place ?? (told < 0 ? line.points.length - 1 : told)];
      return `${line.name}: ${amount(value)} at ${xTitle.split(" ")[0]} ${marks ? signedWhole(at) : at}`;
    };
    return { line, node, places, joined: true, text, choose: line.choose };
  });
  for (const { line, node } of [...named].sort((a, b) => heavy(a.line) - heavy(b.line))) {
    plot.append(node);
    for (const [place, , low, high] of line.reach ? line.points : []) {
      if (typeof low !== "number" || typeof high !== "number") continue;
      plot.append(drawn("line", { class: `run-line reaching ${line.look}`, x1: x(place), x2: x(place), y1: y(low), y2: y(high) }));
    }
  }
  const chart = withNames(svg, named);
  const lost = measured.filter((line) => line.away && line.points.some(([, v]) => v < yScale.start || v > yScale.end));
  if (lost.length) chart.append(element("p", { class: "quiet" }, `Beyond the axes: ${listed(lost.map((line) => line.name))} (diverged).`));
  return chart;
}

// points: {name, look, passing, x, y, reach, choose}.
function scatter({ label, points, xTitle, yTitle, width }) {
  const there = points.filter((p) => p.x > 0 && typeof p.y === "number");
  if (!there.length) return nothing();
  const yScale = linear(there.flatMap((p) => [p.y - (p.reach ?? 0), p.y + (p.reach ?? 0)]));
  const { svg, plot, x, y } = frame(label, width, logarithmic(there.map((p) => p.x)), yScale, xTitle, yTitle);
  const named = [];
  for (const point of there.sort((a, b) => Boolean(a.look) - Boolean(b.look) || a.x - b.x)) {
    const [left, top] = [x(point.x), y(point.y)];
    if (point.reach) {
      plot.append(drawn("line", { class: "reach", x1: left, x2: left, y1: y(point.y - point.reach), y2: y(point.y + point.reach) }));
    }
    const node = drawn("circle", { class: `point ${point.look}${point.passing ? " passing" : ""}`, cx: left, cy: top, r: 5 });
    plot.append(node);
    if (point.look === "best") {
      const inward = left > width / 2;
      plot.append(drawn("text", { x: left + (inward ? -9 : 9), y: top + 4, "text-anchor": inward ? "end" : "start" }, "★"));
    }
    const text = () => `${point.name}: ${amount(point.y)} at ${short(point.x)}`;
    named.push({ node, places: [[left, top]], text, choose: point.choose });
  }
  return withNames(svg, named);
}

// A loss that diverged has no use for three places.
function amount(value) {
  return Math.abs(value) >= 1e5 ? value.toExponential(1) : fixed(value);
}

function listed(names) {
  return names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

function nothing() {
  return element("p", { class: "quiet empty" }, "No row above has these numbers.");
}
