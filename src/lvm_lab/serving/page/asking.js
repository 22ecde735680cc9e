"use strict";
// What is asked of the server, with the key where it wants one, which is kept in this variable alone.

let apiKey = "";

// Its JSON; throws an Error with the server's own sentence, whose status is the answer's, or 0 where none came.
async function ask(path, body, signal) {
  const headers = apiKey ? { Authorization: `Bearer ${apiKey}` } : {};
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw failure(0, "The server does not answer; see whether it still runs, and predict again.");
  }
  const content = await answer.json().catch(() => null);
  if (answer.ok && content) return content;
  const sentence = content?.error?.message ?? `The server answered ${answer.status} and no sentence; its log may say why.`;
  throw failure(answer.status, sentence);
}

function failure(status, sentence) {
  return Object.assign(new Error(sentence), { status });
}
