"use strict";
// The chunks of a text as a numbered list, in which the one that is held out is chosen.

// answers: of models that cut the text alike. named: whether to say who they are. choose: gets the number of a chunk.
function chunkList(name, answers, named, choose) {
  const { chunks, stretches, target } = answers[0];
  const first = firsts(stretches);
  const lines = chunks.map((text, place) => {
    const number = place + 1;
    const radio = element("input", { type: "radio", name, value: number, checked: number === target,
      disabled: first.has(number), onchange: () => choose(number) });
    const words = first.has(number) ? "nothing before it to be predicted from" : null;
    return element("li", { value: number }, element("label", { title: words },
      radio, element("span", { class: "number" }, `${number}.`), element("span", { class: "text" }, text), element("span", { class: "mark" })));
  });
  const list = element("ol", { class: "chunks" }, ...lines);
  const box = element("fieldset", { class: "cut" }, element("legend", {}, heading(answers, named)),
    element("p", { class: "quiet" }, "Choose the chunk to predict; the models read those before it."), list);
  markChunks(box, answers);
  return box;
}

function heading(answers, named) {
  const count = answers[0].chunks.length;
  const who = named ? `, as ${listed(answers.map((one) => one.model))} cut${answers.length === 1 ? "s" : ""} the text` : "";
  return `${count} chunk${count === 1 ? "" : "s"}${who}`;
}

// Scrolls a long list, and nothing but it, to the chunk that is predicted.
function showTarget(list) {
  const line = list.querySelector(".target");
  if (line) list.scrollTop = line.offsetTop - (list.clientHeight - line.offsetHeight) / 2;
}

// The number of each stretch's first chunk, which nothing precedes.
function firsts(stretches) {
  const numbers = new Set();
  stretches.reduce((before, length) => { if (length) numbers.add(before + 1); return before + length; }, 0);
  return numbers;
}

// Says of each chunk who reads it, and which one is predicted.
function markChunks(box, answers) {
  box.querySelectorAll("li").forEach((line, place) => {
    const number = place + 1;
    const readers = answers.filter((one) => one.read.includes(number)).map((one) => one.model);
    const target = answers[0].target === number;
    const all = readers.length === answers.length;
    line.className = target ? "target" : readers.length ? "read" : "";
    line.querySelector(".mark").textContent = target ? "to predict" : !readers.length ? "" : all ? "read" : `read by ${listed(readers)}`;
  });
}
