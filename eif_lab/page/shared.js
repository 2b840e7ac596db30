"use strict";
// What the page's scripts share: its data, the address, and the text beside the pointer.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

function element(tag, options = {}, ...children) {
  const made = Object.assign(document.createElement(tag), options);
  made.append(...children);
  return made;
}

// --- contents: decoded once, when first needed ---

const data = JSON.parse(document.getElementById("data").textContent);

const content = (() => {
  const TYPES = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const decoded = new Map();

  function bytesOf(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  async function unpack({ kind, content: packed }) {
    const stream = new Blob([bytesOf(packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const answer = new Response(stream);
    return kind === "json" ? answer.json() : new TYPES[kind](await answer.arrayBuffer());
  }

  return (name) => {
    if (!decoded.has(name)) decoded.set(name, unpack(data.contents[name]));
    return decoded.get(name);
  };
})();

function trouble(error) {
  const told = $("#trouble");
  told.hidden = false;
  told.textContent = `Not everything can be shown: ${error.message}. This page needs a browser of 2023 or newer.`;
  console.error(error);
}

// --- the address: what is chosen, as #job=2&order=class, so that a view can be sent ---

const address = (() => {
  const chosen = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  // an address that is typed or pasted over this one is opened like any other
  window.addEventListener("hashchange", () => location.hash.includes("=") && location.reload());
  return {
    get: (name) => chosen.get(name),
    /** Write a choice down; null, or what is chosen anyway, leaves the address. */
    set(name, value, usual = null) {
      if (value === null || String(value) === String(usual ?? "")) chosen.delete(name);
      else chosen.set(name, value);
      chosen.sort();
      history.replaceState(null, "", chosen.size ? `#${chosen}` : location.pathname + location.search);
    },
  };
})();

// --- the text beside the pointer, or beside what has the focus ---

const tip = (() => {
  const box = $("#tip");
  const GAP = 14;
  let holder = null;

  function show(text, x, y) {
    box.textContent = text;
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const [right, bottom] = [document.documentElement.clientWidth, window.innerHeight];
    const left = x + GAP + width <= right ? x + GAP : x - GAP - width;
    const top = y + GAP + height <= bottom ? y + GAP : y - GAP - height;
    box.style.left = `${Math.max(0, Math.min(left, right - width))}px`;
    box.style.top = `${Math.max(0, Math.min(top, bottom - height))}px`;
  }

  function hide() {
    box.hidden = true;
    holder?.removeAttribute("aria-describedby");
    holder = null;
  }

  const told = (target) => target.closest?.("[data-tip]");
  document.addEventListener("pointermove", (event) => {
    const over = told(event.target);
    if (over) show(over.dataset.tip, event.clientX, event.clientY);
    else if (!(event.target instanceof HTMLCanvasElement)) hide();
  });
  function showBeside(mark) {
    const { right, bottom } = mark.getBoundingClientRect();
    show(told(mark).dataset.tip, right - GAP, bottom - GAP);
  }

  document.addEventListener("focusin", ({ target }) => {
    if (!told(target) || !target.matches(":focus-visible")) return;
    showBeside(target);
    holder = target;
    holder.setAttribute("aria-describedby", "tip");
  });
  document.addEventListener("focusout", hide);
  // what gets the focus is scrolled into view; what is pointed at is no longer under the pointer
  document.addEventListener("scroll", () => (holder ? showBeside(holder) : hide()), true);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  return { show, hide };
})();

/** Of many marks one is in the order of the tabulator; arrows go on to the nearest in their direction. */
function withArrows(holder, selector) {
  const marks = $$(selector, holder);
  marks.forEach((mark, i) => mark.setAttribute("tabindex", i ? -1 : 0));
  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const middle = (mark) => {
    const { left, right, top, bottom } = mark.getBoundingClientRect();
    return [(left + right) / 2, (top + bottom) / 2];
  };
  holder.addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    const from = event.target.closest(selector);
    if (!direction || !from) return;
    event.preventDefault();
    const [x, y] = middle(from);
    let nearest = null;
    let least = Infinity;
    for (const mark of marks) {
      if (mark === from || !mark.checkVisibility()) continue;
      const [dx, dy] = middle(mark).map((at, i) => at - [x, y][i]);
      const along = dx * direction[0] + dy * direction[1];
      const across = Math.abs(dx * direction[1]) + Math.abs(dy * direction[0]);
      if (along > 0.5 && along + 3 * across < least) [nearest, least] = [mark, along + 3 * across];
    }
    if (!nearest) return;
    from.setAttribute("tabindex", -1);
    nearest.setAttribute("tabindex", 0);
    nearest.focus();
  });
}
