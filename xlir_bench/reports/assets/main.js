// State lives in one object; every change draws the page again from the data.
const data = JSON.parse(document.getElementById("data").textContent);
const place = (id) => document.getElementById(id);
const state = { task: "", measure: "map", filter: "", sort: { key: "rank", down: false }, a: "", b: "", texts: "questions", found: "recall@1" };

function taskNow() {
  return data.tasks.find((task) => task.id === state.task) || data.tasks[0];
}

function settle() {
  const task = taskNow();
  const has = (id) => task.rows.some((row) => row.id === id);
  state.task = task.id;
  if (!task.measures.includes(state.measure)) state.measure = task.measures[0];
  if (!has(state.a)) state.a = task.rows[0].id;
  if (!has(state.b) || state.b === state.a) state.b = "";
}

function change(part) {
  const { focus, ...rest } = part;
  const before = { a: state.a, b: state.b };
  Object.assign(state, rest);
  // Choosing for A what B shows swaps the two.
  if (rest.a && rest.a === before.b) state.b = before.a;
  if (rest.b && rest.b === before.a && before.b) state.a = before.b;
  draw();
  remember();
  if (focus && place(focus)) place(focus).focus();
}

function remember() {
  const words = new URLSearchParams({ task: state.task, measure: state.measure, a: state.a, ...(state.b ? { b: state.b } : {}), ...(place("alignment").hidden ? {} : { texts: state.texts, found: state.found }) });
  history.replaceState(null, "", "#" + words);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const name of ["task", "measure", "a", "b", "texts", "found"]) if (words.has(name)) state[name] = words.get(name);
}

function choice(label, id, options, value, pick) {
  const select = h("select", { id, onchange: (event) => pick(event.target.value) }, options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  return h("label", { for: id }, label, select);
}

function drawToolbar(task) {
  const tabs = data.tasks.map((t) => h("button", { type: "button", "aria-pressed": String(t === task), id: `task-${t.id}`, onclick: () => change({ task: t.id, focus: `task-${t.id}` }) }, t.title));
  const measures = choice("measure", "measure", task.measures.map((m) => [m, m]), state.measure, (measure) => change({ measure, focus: "measure" }));
  place("toolbar").replaceChildren(h("div", { class: "tabs", role: "group", "aria-label": "Task" }, tabs), measures);
}

function drawRankingSection(task) {
  const [table, shown] = drawRanking(task, state, change);
  const number = h("span", { class: "note", role: "status" }, `${shown} of ${task.rows.length} encoders`);
  const old = place("filter");
  const input = old || h("input", { type: "search", id: "filter", placeholder: "name or kind", autocomplete: "off", spellcheck: "false" });
  if (!old) input.addEventListener("input", () => { state.filter = input.value; draw(); });
  const hadFocus = document.activeElement === input;
  const facts = `${task.langs.length} languages · ${task.counts.map(([kind, n]) => `${n} ${kind}`).join(", ")} settings · ${task.licence}`;
  place("ranking").replaceChildren(
    h("h2", { id: "ranking-title" }, task.title),
    h("p", { class: "note" }, facts),
    h("div", { class: "bar" }, h("label", { for: "filter" }, "filter", input), number),
    table,
    h("p", { class: "note" }, `Best first by ${task.rankedBy} ${task.main}. Choose A, and B to set beside it. Hover, focus or tap a number for its interval and n.`),
    ...task.told.map((text) => h("p", { class: "note" }, text)));
  if (hadFocus) input.focus();
}

function drawDetailSection(task) {
  const [a, b] = [state.a, state.b].map((id) => task.rows.find((row) => row.id === id));
  const options = task.rows.map((row) => [row.id, row.name]);
  const top = matrixTop(task, state.measure);
  const parts = [drawMatrix(task, a, "a", state.measure, top)];
  if (b) parts.push(drawMatrix(task, b, "b", state.measure, top), drawDifference(task, a, b, state.measure), drawTally(task, a, b, state.measure));
  place("detail").replaceChildren(
    h("h2", { id: "detail-title" }, `Every pair of languages: ${state.measure}`),
    h("div", { class: "bar" },
      h("div", { class: "group" },
        choice("A", "choose-a", options, state.a, (id) => change({ a: id, focus: "choose-a" })),
        choice("beside it, B", "choose-b", [["", "none"], ...options.filter(([id]) => id !== state.a)], state.b, (id) => change({ b: id, focus: "choose-b" }))),
      h("div", { class: "legend" }, "0", h("span", { class: "ramp" }), score(top, 1))),
    h("div", { class: b ? "pair two" : "pair" }, parts));
  const cards = drawBias(b ? [a, b] : [a]);
  place("bias").hidden = !cards.length;
  place("bias").replaceChildren(h("h2", { id: "bias-title" }, "Language bias in the pool of all languages"), h("div", { class: "cards" }, cards));
}

function drawAlignmentSection(task) {
  const rows = [state.a, state.b].map((id) => task.rows.find((row) => row.id === id)).filter(Boolean);
  const choices = alignmentChoices(rows, state);
  const some = rows.some((row) => row.alignment);
  place("alignment").hidden = !some;
  if (!some) return place("alignment").replaceChildren();
  const pick = [];
  if (choices.names.length > 1) pick.push(choice("texts", "alignment-texts", choices.names.map((name) => [name, TEXTS[name][0]]), choices.name, (texts) => change({ texts, focus: "alignment-texts" })));
  if (choices.cuts.length > 1) pick.push(choice("found among the nearest", "alignment-found", choices.cuts.map((cut) => [cut, cutOf(cut)]), choices.cut, (found) => change({ found, focus: "alignment-found" })));
  const maps = drawAlignmentMaps(task, rows, choices);
  place("alignment").replaceChildren(
    h("h2", { id: "alignment-title" }, "How the languages lie to each other"),
    h("div", { class: "bar" }, h("div", { class: "group" }, pick)),
    h("div", { class: maps.length > 1 ? "pair two" : "pair" }, maps),
    h("div", { class: "pair two figures" }, drawAlignmentFigures(rows)));
}

function drawReported(task) {
  place("reported").hidden = !task.reported.length;
  if (!task.reported.length) return;
  const show = ([, measure], value) => (measure === "rank_distance" ? distance(value) : score(value));
  const title = ([kind, measure]) => (measure === "rank_distance" ? "rank distance" : `${kind} ${measure}`);
  const head = h("tr", null, ["Encoder", "Batches", "Source"].map((text) => h("th", { scope: "col" }, text)), task.reportedColumns.map((column) => h("th", { scope: "col" }, title(column))));
  const lines = task.reported.map((row) => h("tr", null,
    h("td", null, row.encoder, " ", h("span", { class: "badge" }, "reported")), h("td", null, row.training), h("td", null, h("a", { href: row.url, rel: "noreferrer" }, row.short)),
    row.values.map((value, i) => h("td", null, show(task.reportedColumns[i], value)))));
  place("reported").replaceChildren(h("details", { open: true },
    h("summary", { id: "reported-title" }, "What papers report on this task"),
    h("p", { class: "note" }, "Copied from papers, not run here, and no part of the ranking; the papers give no intervals."),
    h("div", { class: "scroll" }, h("table", { class: "reported" }, h("thead", null, head), h("tbody", null, lines)))));
}

function drawColophon() {
  const terms = [
    ["Settings", "Monolingual: question and passages in one language. Cross-lingual: every ordered pair of two. Multilingual: a question against the passages of all languages in one pool."],
    ["Means", "Over the questions of a setting, then over the settings of a kind: every language weighs the same."],
    ["Intervals", "95 %, by resampling whole clusters (articles where the data has them), translations always together."],
    ["Texts/s", "Of the machine that a result was made on: no comparison of encoders unless it was the same."],
  ];
  place("colophon").replaceChildren(h("dl", null, terms.map(([term, text]) => [h("dt", null, term), h("dd", null, text)])),
    h("p", null, `Made by xlir-bench leaderboard --html (xlir-bench ${data.version}) from stored results.`));
}

function draw() {
  hideTip();
  if (!data.tasks.length) {
    place("ranking").replaceChildren(h("p", { class: "empty" }, "No ranked results yet."));
    return;
  }
  settle();
  const task = taskNow();
  drawToolbar(task);
  drawRankingSection(task);
  drawDetailSection(task);
  drawAlignmentSection(task);
  drawReported(task);
}

recall();
draw();
drawColophon();
addEventListener("hashchange", () => { recall(); draw(); });
