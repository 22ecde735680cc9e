"use strict";
// What one model makes of the text: ranks, candidates, offset curve.

// model: of /models. answer: of /try, or an Error.
function column(model, answer) {
  const title = element("h3", {}, model.name);
  const what = [model.arch, `${short(model.params)} parameters`, model.version && `version ${model.version}`].filter(Boolean).join(" · ");
  const nodes = [title, element("p", { class: "quiet" }, what)];
  if (answer instanceof Error) nodes.push(missing(answer.message));
  else if (answer.missing.prediction) nodes.push(missing(answer.missing.prediction));
  else nodes.push(ranksPart(answer), candidatesPart(answer), offsetsPart(answer), ...answer.notes.map((note) => element("p", { class: "quiet" }, `Note: ${note}`)));
  return element("article", { class: "model", "aria-label": model.name }, ...nodes);
}

function missing(sentence) {
  return element("p", { class: "missing" }, sentence);
}

function ranksPart(answer) {
  const { text, decoder } = answer.ranks;
  const next = cosineAt(answer, 1);
  const last = cosineAt(answer, 0);
  const among = decoder ? `, or the ${grouped(decoder.of, 0)} different texts that the decoder chooses from, this one among them` : "";
  return section(`Chunk ${answer.target}, which truly follows`,
    element("p", { class: "quiet" }, `Its rank by cosine to the prediction, among the ${text.of} different chunks of this text${among}. Unread only: without what the model has read.`),
    element("dl", { class: "figures" },
      tile("rank in this text", rankWords(text), `unread only: ${rankWords({ rank: text.unread, of: text.unread_of })}`),
      decoder && tile("rank in the store", rankWords(decoder), decoder.unread === null ? "" : `unread only: ${grouped(decoder.unread, 0)}`),
      tile("cosine to the prediction", fixed(next), `the last chunk read: ${fixed(last)}`)),
    decoder ? null : missing(answer.missing.decoder));
}

function cosineAt(answer, k) {
  return answer.offsets.prediction[answer.offsets.k.indexOf(k)];
}

function rankWords({ rank, of }) {
  return rank === null ? `beyond 1,000 of ${grouped(of, 0)}` : `${grouped(rank, 0)} of ${grouped(of, 0)}`;
}

function tile(name, value, more) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value), more && element("span", { class: "quiet" }, more)));
}

function candidatesPart(answer) {
  const title = "Candidates for the next chunk";
  if (!answer.candidates) return answer.missing.candidates === answer.missing.decoder ? null : section(title, missing(answer.missing.candidates));
  const words = { target: "the true next chunk", read: "was read" };
  const lines = answer.candidates.map(({ text, score, known }) => element("li", { class: known },
    element("span", { class: "text" }, text, known && element("span", { class: "mark" }, ` · ${words[known]}`)),
    element("span", { class: "score" }, fixed(score))));
  return section(title, element("p", { class: "quiet" }, "What the decoder makes of the prediction, each with its cosine to it."),
    element("ol", { class: "candidates" }, ...lines));
}

function offsetsPart(answer) {
  const { k, prediction, text, windows, margin } = answer.offsets;
  const mean = text && `mean of ${windows} window${windows === 1 ? "" : "s"} of this text`;
  const lines = [
    { name: "this prediction", look: "best", points: k.map((offset, i) => [offset, prediction[i]]) },
    text && { name: mean, look: "open", points: k.map((offset, i) => [offset, text[i]]) },
  ].filter(Boolean);
  const words = text ? `Blue: this prediction. Orange, dashed: the ${mean}, whose margin of +1 over the best other offset is ${signed(margin)}.` : "Blue: this prediction.";
  const table = element("details", {}, element("summary", {}, "the curve as a table"),
    plainTable(["offset", "this prediction", text && mean].filter(Boolean), k.map((offset, i) => [signedWhole(offset), fixed(prediction[i]), text && fixed(text[i])].filter((cell) => cell !== null))));
  const chart = element("div", { class: "curve" });
  chart.cosines = [...prediction, ...(text ?? [])].filter((value) => value !== null);
  chart.draw = (across) => chart.replaceChildren(lineChart({ label: "cosine of the prediction by offset", lines, xTitle: "offset k (0: last read, +1: next)",
    yTitle: "cosine", width: Math.max(260, Math.floor(chart.clientWidth)), marks: OFFSETS, spoken: 1, across }));
  return section("Offset curve", element("p", { class: "quiet" }, `How near the prediction is to the chunks around it. ${words}`),
    chart, answer.missing.offsets && missing(`No mean over the text: ${answer.missing.offsets}`), table);
}

function section(title, ...nodes) {
  return element("section", {}, element("h4", {}, title), ...nodes);
}
