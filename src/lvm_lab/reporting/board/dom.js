"use strict";
// Elements whose texts are always texts, never HTML, and numbers as people read them.

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  // append() makes text nodes of strings.
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A long name is broken behind its own marks first.
function breakable(text) {
  const pieces = document.createDocumentFragment();
  text.split(/(?<=[_\-.])/).forEach((piece, i) => pieces.append(...(i ? [document.createElement("wbr"), piece] : [piece])));
  return pieces;
}

function byId(id) {
  return document.getElementById(id);
}

function fixed(value, digits = 3) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

function signed(value, digits = 3) {
  const text = fixed(value, digits);
  return text && value >= 0 ? `+${text}` : text;
}

function grouped(value, digits) {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function interval(number) {
  const [low, high] = (number && number.interval) || [null, null];
  return low === null || high === null ? "" : `${fixed(low)} .. ${fixed(high)}`;
}

function plainTable(heads, rows) {
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map((row) => row instanceof Node ? row : plainRow(row))));
}

function plainRow(cells, attributes = {}) {
  return element("tr", attributes, ...cells.map((cell) => cell instanceof Node ? cell : element("td", {}, String(cell ?? ""))));
}
