"use strict";
// The figures under the table: they show its rows.

const QUALITIES = ["A/margin", "A/cos", "B/mrr_unseen", "following/mrr", "skill/A/cos", "skill/B/mrr_unseen", "passed"];
const CURVES = ["val/loss", "train/loss", "val/cos", "5cat/val/A/margin"];
const WIDEST = 640;

// records: the rows. settings: {part, quality, curve}. reveal(record) opens a row's details, isOpen(record) says so.
function figureList(data, records, settings, { reveal, isOpen, width }) {
  const { part, quality, curve } = settings;
  const runs = records.flatMap((record) => record.members.map((index) => ({ index, record, run: data.runs[index] })));
  const lines = (among, points) => among.map(({ index, record, run }) => ({
    name: run.name,
    look: isOpen(record) ? "open" : index === data.best ? "best" : "",
    points: points(run),
    away: run.cells.status === "diverged",
    choose: () => reveal(record),
  }));
  const against = (key, xTitle) => scatter({
    label: `${quality.title} against ${xTitle}`, xTitle, yTitle: quality.title, width,
    points: records.map((record) => ({
      name: record.name,
      look: isOpen(record) ? "open" : record.best ? "best" : "",
      passing: record.cells.preset === "pass" || record.cells.preset === 1,
      x: record.cells[key],
      y: record.cells[quality.key],
      reach: record.numbers[quality.key]?.[1],
      choose: () => reveal(record),
    })),
  });
  return [
    [`Offset curves (${part.toUpperCase()})`, lineChart({ label: "offset curves", xTitle: "offset k (+1 is the target)",
      yTitle: "mean cosine", width, marks: OFFSETS, spoken: 1, lines: lines(runs, (run) => run.offsets[part]) })],
    [`${quality.title} against parameters`, against("params", "parameters (log)")],
    [`${quality.title} against throughput`, against("throughput", "training windows a second (log)")],
    ...byLoss(runs, curve).map(([loss, among]) => [`${curve} by epoch${loss && `: ${loss}`}`, lineChart({
      label: `${curve} by epoch${loss && ` of ${loss}`}`, xTitle: "epoch", yTitle: curve, width,
      lines: lines(among, (run) => pointsOf(run, curve)) })]),
  ];
}

// Values of two losses say nothing about each other, so that each has axes of its own.
function byLoss(runs, curve) {
  if (!curve.endsWith("/loss")) return [["", runs]];
  const losses = new Map();
  for (const entry of runs) {
    if (!entry.run.curves[curve]) continue;
    const loss = entry.run.cells.loss ?? "";
    if (!losses.has(loss)) losses.set(loss, []);
    losses.get(loss).push(entry);
  }
  return losses.size ? [...losses].sort(([a], [b]) => collator.compare(a, b)) : [["", []]];
}
