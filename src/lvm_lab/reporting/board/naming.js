"use strict";
// Names of lines and points for mouse, touch and keyboard alike: one tab stop a figure, arrows go from run to run.

// marks: {node, places: [[x, y]], text(place number or null), choose}, as they are drawn; keys go in their order.
// choose, where there is one, opens the run's details.
function withNames(svg, marks) {
  const name = element("span", {}, marks.length > 1 ? "Names: point, tap, or Tab and arrow keys." : marks[0]?.text(null) ?? "");
  const open = element("button", { type: "button", hidden: true }, "open details");
  const readout = element("p", { class: "readout" }, name, " ", open);
  let current = null;
  const pick = (mark, place = null) => {
    current?.node.classList.remove("named");
    current?.node.setAttribute("tabindex", "-1");
    current = mark;
    mark.node.classList.add("named");
    mark.node.setAttribute("tabindex", "0");
    name.textContent = mark.text(place);
    open.hidden = !mark.choose;
  };
  open.addEventListener("click", () => current?.choose?.());
  for (const mark of marks) {
    mark.node.classList.add("mark");
    mark.node.setAttribute("tabindex", "-1");
    mark.node.setAttribute("role", mark.choose ? "button" : "img");
    mark.node.setAttribute("aria-label", mark.text(null));
    mark.node.addEventListener("focus", () => { if (current !== mark) pick(mark); });
  }
  marks[0]?.node.setAttribute("tabindex", "0");
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  svg.addEventListener("keydown", (event) => {
    const at = Math.max(0, marks.indexOf(current));
    const next = { Home: 0, End: marks.length - 1 }[event.key] ?? (steps[event.key] && at + steps[event.key]);
    if (next !== undefined) {
      event.preventDefault();
      const mark = marks[(next + marks.length) % marks.length];
      pick(mark);
      mark.node.focus();
    } else if ((event.key === "Enter" || event.key === " ") && current?.choose) {
      event.preventDefault();
      current.choose();
    }
  });
  const near = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    return nearest(marks, (event.clientX - box.x) * scale, (event.clientY - box.y) * scale);
  };
  svg.addEventListener("pointermove", (event) => {
    const hit = event.pointerType === "touch" ? null : near(event);
    if (hit) pick(hit.mark, hit.place);
  });
  svg.addEventListener("click", (event) => {
    // What reads the page aloud clicks an element and no place.
    const mark = marks.find(({ node }) => node === event.target);
    const hit = event.detail || !mark ? near(event) : { mark, place: null };
    if (!hit) return;
    pick(hit.mark, hit.place);
    // A finger cannot point first, so that its tap names and the button opens.
    if (event.pointerType !== "touch") hit.mark.choose?.();
  });
  return element("div", { class: "chart" }, svg, readout);
}

// The mark whose place, or line between two places, is nearest, within the reach of a finger.
function nearest(marks, x, y) {
  let hit = null;
  let best = 24;
  for (const mark of marks) {
    mark.places.forEach((to, i) => {
      const from = mark.places[Math.max(0, i - 1)];
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = dx * dx + dy * dy;
      const share = mark.joined && length ? Math.min(1, Math.max(0, ((x - from[0]) * dx + (y - from[1]) * dy) / length)) : 1;
      const distance = Math.hypot(x - from[0] - share * dx, y - from[1] - share * dy);
      if (distance < best) [best, hit] = [distance, { mark, place: share < 0.5 ? Math.max(0, i - 1) : i }];
    });
  }
  return hit;
}
