"use strict";
// A box that scrolls says where it goes on: a shadow at that edge, and in words how many columns stand to the right.

function scrollBox(label, ...children) {
  const box = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, ...children);
  return hinted(element("div", { class: "frame" }, box));
}

// frame: holds one .scroll; what follows it in .hint, if anything, gets the words.
function hinted(frame) {
  const box = frame.querySelector(".scroll");
  const hint = frame.parentElement?.querySelector(":scope > .hint");
  const update = () => {
    // Half a pixel is rounding.
    const [right, below] = [box.scrollWidth - box.clientWidth - box.scrollLeft, box.scrollHeight - box.clientHeight - box.scrollTop];
    const edges = { left: box.scrollLeft > 1, right: right > 1, below: below > 1 };
    for (const [edge, more] of Object.entries(edges)) frame.classList.toggle(`more-${edge}`, more);
    box.style.setProperty("--visible", `${box.clientWidth}px`);
    if (hint) hint.textContent = edges.right ? hiddenColumns(box) : "";
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; update(); });
  };
  box.addEventListener("scroll", soon, { passive: true });
  const observer = new ResizeObserver(soon);
  observer.observe(box);
  for (const child of box.children) observer.observe(child);
  return frame;
}

function hiddenColumns(box) {
  const edge = box.getBoundingClientRect().right;
  const hidden = [...box.querySelectorAll(":scope > table > thead th")].filter((head) => head.getBoundingClientRect().right > edge + 1);
  return hidden.length ? `${hidden.length} more column${hidden.length > 1 ? "s" : ""} to the right: scroll sideways` : "";
}
