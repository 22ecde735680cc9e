"use strict";
// What is shown, and what changes it.

// Models that are ticked at the beginning.
const TICKED = 3;
// target: the chunk that was chosen of this text, where all models cut it alike; null: the last.
const state = { models: [], text: "", target: null, round: 0, width: 0 };

async function loadModels() {
  try {
    state.models = (await ask("models")).models;
  } catch (error) {
    return complain(error);
  }
  byId("key-row").hidden = true;
  byId("error").textContent = "";
  byId("models-row").hidden = state.models.length < 2;
  byId("models").replaceChildren(...state.models.map((model, place) => element("label", { class: "tick" },
    element("input", { type: "checkbox", name: "model", value: model.name, checked: place < TICKED }), model.name)));
}

function complain(error) {
  byId("error").textContent = error.message;
  if (error.status === 401) {
    byId("key-row").hidden = false;
    byId("key").focus();
  }
}

function ticked() {
  const names = [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
  return state.models.filter((model) => names.includes(model.name));
}

// Each model with its answer or what went wrong.
async function tried(models, text, target, signal) {
  const candidates = Number(byId("candidates").value);
  return Promise.all(models.map(async (model) => {
    try {
      return { model, answer: await ask("try", { model: model.name, text, target, candidates }, signal) };
    } catch (error) {
      return { model, answer: error };
    }
  }));
}

async function predict() {
  if (!state.models.length) await loadModels();
  if (!state.models.length) return;
  const models = ticked();
  byId("error").textContent = "";
  if (!byId("text").value.trim()) return complain(new Error("The text is empty; paste some, or take the example."));
  if (!models.length) return complain(new Error("No model is ticked; tick one or more."));
  const text = byId("text").value;
  if (text !== state.text) [state.text, state.target] = [text, null];
  state.round += 1;
  const { round } = state;
  begin(models);
  const results = await tried(models, text, state.target);
  if (round !== state.round) return;
  const groups = new Map();
  for (const result of results) {
    const key = result.answer instanceof Error ? result.answer.message : JSON.stringify(result.answer.chunks);
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  byId("results").replaceChildren(...[...groups.values()].map((some, place) => groupOf(some, place, groups.size > 1)));
  finish(results);
}

function begin(models) {
  byId("results").setAttribute("aria-busy", "true");
  byId("status").textContent = `Asking ${listed(models.map((model) => model.name))} …`;
}

function finish(results) {
  byId("results").removeAttribute("aria-busy");
  draw();
  const good = results.map((one) => one.answer).filter((answer) => !(answer instanceof Error));
  byId("status").textContent = good.map((answer) => {
    const rank = answer.ranks.text;
    return rank ? `${answer.model}: chunk ${answer.target} ranks ${rank.rank} of ${rank.of} in this text.` : `${answer.model}: no prediction.`;
  }).join(" ");
  const errors = results.map((one) => one.answer).filter((answer) => answer instanceof Error);
  if (errors.length) complain(errors.find((error) => error.status === 401) ?? errors[0]);
}

// Models that cut the text alike: their chunks once, and a column each. named: whether there are others.
function groupOf(results, place, named) {
  const columns = element("div", { class: "columns" });
  const fill = (some) => columns.replaceChildren(...some.map(({ model, answer }) => column(model, answer)));
  fill(results);
  if (results[0].answer instanceof Error) return element("section", { class: "group" }, columns);
  const answersOf = (some) => some.map((one) => one.answer).filter((answer) => !(answer instanceof Error));
  const { text, round } = state;
  const models = results.map((one) => one.model);
  let asking = new AbortController();
  const choose = async (target) => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    state.target = named ? null : target;
    byId("error").textContent = "";
    begin(models);
    const anew = await tried(models, text, target, signal);
    // Another chunk, or a whole text, was asked for meanwhile.
    if (signal.aborted || round !== state.round) return;
    fill(anew);
    if (answersOf(anew).length) markChunks(chunks, answersOf(anew));
    finish(anew);
  };
  const chunks = chunkList(`target-${place}`, answersOf(results), named, choose);
  return element("section", { class: "group" }, chunks, columns);
}

// All curves on one scale, so that they compare.
function draw() {
  const charts = [...document.querySelectorAll(".curve")];
  const across = charts.flatMap((chart) => chart.cosines);
  for (const chart of charts) chart.draw(across);
  for (const list of document.querySelectorAll(".chunks")) showTarget(list);
  state.width = byId("results").clientWidth;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
byId("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  predict();
});
byId("example").addEventListener("click", () => {
  byId("text").value = EXAMPLE;
  byId("text").focus();
});
byId("candidates").addEventListener("change", () => { if (byId("results").children.length) predict(); });
byId("use-key").addEventListener("click", () => {
  apiKey = byId("key").value;
  loadModels();
});
byId("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  byId("use-key").click();
});
new ResizeObserver(() => { if (byId("results").clientWidth !== state.width) draw(); }).observe(byId("results"));
loadModels();
