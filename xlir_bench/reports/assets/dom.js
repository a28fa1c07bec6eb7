// Elements are made from text alone: nothing that came from outside is ever parsed as HTML.
const tips = new WeakMap();

function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "vars") Object.entries(value).forEach(([key, v]) => node.style.setProperty(key, v));
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name !== "tip") node.setAttribute(name, value === true ? "" : value);
  }
  if (attributes && attributes.tip) {
    tips.set(node, attributes.tip);
    node.classList.add("tipped");
    node.tabIndex = -1;
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const known = (value) => value !== null && value !== undefined;

function score(value, digits = 4) {
  if (!known(value)) return "–";
  const text = value.toFixed(digits);
  return text.replace(/^(-?)0\./, "$1.");
}

function signed(value, digits = 3) {
  const text = score(Math.abs(value), digits);
  if (Number(value.toFixed(digits)) === 0) return text;
  return (value > 0 ? "+" : "−") + text;
}

function count(value) {
  return known(value) ? Math.round(value).toLocaleString("en-US") : "–";
}

function distance(value) {
  if (!known(value)) return "–";
  return value < 100 ? value.toFixed(1) : count(value);
}

function millions(value) {
  if (!known(value)) return "–";
  if (value >= 1e9) return (value / 1e9).toFixed(1) + " B";
  return value >= 1e5 ? (value / 1e6).toFixed(1) + " M" : count(value);
}

const percent = (value) => (known(value) ? (100 * value).toFixed(1) + " %" : "–");
const share = (value, whole) => Math.max(0, Math.min(100, (100 * value) / whole)) + "%";
const interval = (low, high, show) => (known(low) ? `${show(low)} to ${show(high)}` : null);

// The name of a language by its code; a code without a known name stays as it is.
const languages = new Intl.DisplayNames(["en"], { type: "language" });

function languageName(lang) {
  try {
    return languages.of(lang.replaceAll("_", "-"));
  } catch {
    return lang;
  }
}

function pairName(q, p) {
  const [from, to] = [languageName(q), p === "*" ? "all languages" : languageName(p)];
  return `${q} → ${p === "*" ? "all" : p}` + (from === q && to === p ? "" : `: ${from}, ${to}`);
}

// One tooltip, shown on hover, focus and tap; Escape hides it.
const tipBox = document.getElementById("tip");
let tipOwner = null;

function showTip(node) {
  const { title, rows, note } = tips.get(node);
  const list = h("dl", null, rows.filter(([, value]) => known(value)).map(([label, value]) => [h("dt", null, label), h("dd", null, value)]));
  tipBox.replaceChildren(h("strong", null, h("bdi", null, title)), list);
  if (note) tipBox.append(h("p", null, note));
  tipBox.hidden = false;
  if (tipOwner && tipOwner !== node) tipOwner.removeAttribute("aria-describedby");
  tipOwner = node;
  node.setAttribute("aria-describedby", "tip");
  const place = node.getBoundingClientRect();
  const box = tipBox.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left + place.width / 2 - box.width / 2), innerWidth - box.width - 8);
  const above = place.top - box.height - 8;
  tipBox.style.transform = `translate(${Math.round(left)}px, ${Math.round(above > 8 ? above : place.bottom + 8)}px)`;
}

function hideTip() {
  if (tipOwner) tipOwner.removeAttribute("aria-describedby");
  tipOwner = null;
  tipBox.hidden = true;
}

const tipped = (event) => (event.target instanceof Element ? event.target.closest(".tipped") : null);

for (const name of ["pointerover", "focusin", "click"]) {
  document.addEventListener(name, (event) => {
    const node = tipped(event);
    if (node) showTip(node);
    else if (name !== "focusin") hideTip();
  });
}
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, { capture: true, passive: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
  else moveFocus(event);
});

// The Tab key stops at a table once; arrow keys go from number to number within it.
function oneStop(container) {
  const first = container.querySelector(".tipped");
  if (first) first.tabIndex = 0;
  container.dataset.grid = "";
  return container;
}

function moveFocus(event) {
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  const node = tipped(event);
  const grid = node && node.closest("[data-grid]");
  if (!grid || !steps[event.key]) return;
  const lines = [...grid.querySelectorAll("[data-line]")].map((line) => [...line.querySelectorAll(".tipped")]).filter((line) => line.length);
  const y = lines.findIndex((line) => line.includes(node));
  const x = lines[y].indexOf(node);
  const [down, right] = steps[event.key];
  const line = lines[y + down];
  const next = line && line[down ? Math.min(x, line.length - 1) : x + right];
  if (!next) return;
  event.preventDefault();
  node.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  showTip(next);
}
