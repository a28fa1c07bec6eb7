// All state is in one object; every change draws the page again from the data.
const data = JSON.parse(document.getElementById("data").textContent);
const place = (id) => document.getElementById(id);
const plain = { task: "", measure: "map", filter: "", columns: "", langs: "", asked: "", a: "", b: "", c: "", texts: "questions", found: "recall@1" };
const state = { ...plain, sort: { key: "rank", down: false }, choosing: false };
const [MANY, SOME, NAMED] = [40, 6, 20];

function taskNow() {
  return data.tasks.find((task) => task.id === state.task) || data.tasks[0];
}

// The data has settings once for each task, and for each encoder only values: of many languages they are most of the page.
function expand(task) {
  for (const row of task.rows) {
    row.cells = task.settings.map(([kind, q, p, n, candidates, chance], i) => ({
      kind, q, p, n, candidates, chance,
      values: Object.fromEntries(Object.entries(row.values).map(([measure, values]) => [measure, values[i]])),
      intervals: Object.fromEntries(Object.entries(row.intervals).map(([measure, bounds]) => [measure, bounds[i]]).filter(([, bounds]) => bounds)),
    })).filter((cell) => Object.values(cell.values).some(known));
  }
  task.expanded = true;
}

// If there are very many languages, the strongest and the weakest of A, unless some are typed in.
function seenLangs(task) {
  const words = state.langs.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const asked = (lang) => words.some((word) => word === "*" || word === lang.toLowerCase() || (word.length > 2 && languageName(lang).toLowerCase().includes(word)));
  const found = task.langs.filter(asked);
  if (found.length) return found;
  if (task.langs.length <= MANY) return task.langs;
  const strength = new Map(task.langs.map((lang) => [lang, 0]));
  for (const { q, values } of task.rows.find(({ id }) => id === state.a).cells) strength.set(q, strength.get(q) + (values[state.measure] ?? 0));
  const order = [...task.langs].sort((one, two) => strength.get(two) - strength.get(one));
  return [...order.slice(0, SOME), ...order.slice(-SOME)].sort();
}

function settle() {
  const task = taskNow();
  if (!task.expanded) expand(task);
  const has = (id) => task.rows.some((row) => row.id === id);
  state.task = task.id;
  if (!task.measures.includes(state.measure)) state.measure = task.measures[0];
  if (!has(state.a)) state.a = task.rows[0].id;
  for (const letter of ["b", "c"]) if (!has(state[letter]) || LETTERS.some((other) => other < letter && state[other] === state[letter])) state[letter] = "";
  if (!state.b) [state.b, state.c] = [state.c, ""];
}

function change(part) {
  const { focus, ...rest } = part;
  const before = { ...state };
  Object.assign(state, rest);
  // Choosing an encoder that another letter shows swaps the two.
  for (const letter of LETTERS) {
    if (!(letter in rest)) continue;
    for (const other of LETTERS) if (other !== letter && rest[letter] && state[other] === rest[letter]) state[other] = before[letter];
  }
  draw();
  remember();
  if (focus && place(focus)) place(focus).focus();
}

function remember() {
  const said = Object.entries(state).filter(([name, value]) => name in plain && value && (["task", "measure", "a"].includes(name) || value !== plain[name]));
  const { key, down } = state.sort;
  if (key !== "rank" || down) said.push(["sort", key + (down ? "-" : "")]);
  history.replaceState(null, "", "#" + new URLSearchParams(said));
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(plain)) state[name] = words.get(name) ?? plain[name];
  const sort = words.get("sort") || "rank";
  state.sort = { key: sort.replace(/-$/, ""), down: sort.endsWith("-") };
  state.choosing = false;
}

// A table that is wider than its place says so.
function hint() {
  for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1);
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
  const input = field("filter", "name or kind", state.filter, (filter) => { state.filter = filter; });
  const facts = `${task.langs.length} languages · ${task.counts.map(([kind, n]) => `${n} ${kind}`).join(", ")} settings · ${task.licence}`;
  const named = task.langs.length > NAMED ? [] : task.langs.map((lang) => (languageName(lang) === lang ? lang : `${languageName(lang)} (${lang})`));
  place("ranking").replaceChildren(
    h("h2", { id: "ranking-title" }, task.title),
    ...(task.part ? [h("p", { class: "part" }, `A part of the task, no full run: ${task.part}.`)] : []),
    h("p", { class: "note" }, facts),
    h("p", { class: "note" }, named.join(", ")),
    h("div", { class: "bar" }, h("label", { for: "filter" }, "filter", input.node), h("div", { class: "group" }, number, chooseColumns(task, state, change), h("p", { class: "saves" }, "save ", saveButton("csv", () => saveRanking(task, state))))),
    table,
    h("p", { class: "note", id: "order" }, `${inWhichOrder(task, state)} `, h("span", { class: "choosing" }, "Choose A, and B and C to set beside it. "), "Hover, focus or tap a number for its interval and the number of questions."),
    ...task.told.map((text) => h("p", { class: "note" }, text)));
  input.focus();
}

// An input that is kept while everything around it is drawn again.
function field(id, hint, value, set) {
  const old = place(id);
  const node = old || h("input", { type: "search", id, placeholder: hint, autocomplete: "off", spellcheck: "false" });
  if (!old) node.addEventListener("input", () => { set(node.value); draw(); remember(); });
  const hadFocus = document.activeElement === node;
  if (!hadFocus) node.value = value;
  return { node, focus: () => hadFocus && node.focus() };
}

const chosen = (task) => LETTERS.map((letter) => task.rows.find((row) => row.id === state[letter])).filter(Boolean);

function drawDetailSection(task, langs) {
  const rows = chosen(task);
  const options = task.rows.map((row) => [row.id, row.name]);
  const top = matrixTop(task, state.measure);
  const parts = rows.map((row, i) => drawMatrix(task, langs, row, LETTERS[i], state.measure, top));
  rows.slice(1).forEach((row, i) => parts.push(drawDifference(task, langs, rows[0], row, ["A", "BC"[i]], state.measure)));
  if (rows.length > 1) parts.push(drawTally(task, rows, state.measure));
  const pick = (letter, label) => choice(label, `choose-${letter}`, [...(letter === "a" ? [] : [["", "none"]]), ...options], state[letter], (id) => change({ [letter]: id, focus: `choose-${letter}` }));
  const input = field("langs", task.langs.length > MANY ? "codes or names; * for all" : "codes or names", state.langs, (text) => { state.langs = text; });
  place("detail").replaceChildren(
    h("h2", { id: "detail-title" }, `Every pair of languages: ${state.measure}`),
    h("div", { class: "bar" },
      h("div", { class: "group" }, pick("a", "A"), pick("b", "beside it, B"), state.b ? pick("c", "and C") : null, h("label", { for: "langs" }, "languages", input.node)),
      h("div", { class: "legend" }, "0", h("span", { class: "ramp" }), score(top, 1))),
    ...(langs.length < task.langs.length ? [h("p", { class: "note" }, `${langs.length} of ${task.langs.length} languages, here and below${state.langs ? "" : `: the ${SOME} strongest and the ${SOME} weakest of A`}.`)] : []),
    h("div", { class: rows.length > 1 ? "pair two" : "pair" }, parts),
    drawAbout(task, rows));
  input.focus();
  const cards = drawBias(rows, (lang) => langs.includes(lang) || !task.langs.includes(lang));
  place("bias").hidden = !cards.length;
  place("bias").replaceChildren(h("h2", { id: "bias-title" }, "Language bias in the pool of all languages"), h("div", { class: "cards" }, cards));
}

function drawQuestionsSection(task) {
  place("questions").hidden = !task.questions;
  if (!task.questions) return place("questions").replaceChildren();
  const lang = askedIn(task, state.asked);
  const named = (code) => (languageName(code) === code ? code : `${languageName(code)} (${code})`);
  place("questions").replaceChildren(
    h("h2", { id: "questions-title" }, "Questions"),
    h("div", { class: "bar" }, choice("asked in", "asked", task.langs.map((code) => [code, named(code)]), lang, (asked) => change({ asked, focus: "asked" }))),
    ...drawQuestions(task, chosen(task), lang));
}

function drawAlignmentSection(task, langs) {
  const rows = chosen(task);
  const seen = (lang) => langs.includes(lang) || !task.langs.includes(lang);
  const choices = alignmentChoices(rows, state);
  const some = rows.some((row) => row.alignment);
  place("alignment").hidden = !some;
  if (!some) return place("alignment").replaceChildren();
  const pick = [];
  if (choices.names.length > 1) pick.push(choice("texts", "alignment-texts", choices.names.map((name) => [name, TEXTS[name][0]]), choices.name, (texts) => change({ texts, focus: "alignment-texts" })));
  if (choices.cuts.length > 1) pick.push(choice("found among the nearest", "alignment-found", choices.cuts.map((cut) => [cut, cutOf(cut)]), choices.cut, (found) => change({ found, focus: "alignment-found" })));
  const maps = drawAlignmentMaps(task, rows, seen, choices);
  place("alignment").replaceChildren(
    h("h2", { id: "alignment-title" }, "Alignment of the languages"),
    h("div", { class: "bar" }, h("div", { class: "group" }, pick)),
    h("div", { class: maps.length > 1 ? "pair two" : "pair" }, maps),
    h("div", { class: "pair two figures" }, drawAlignmentFigures(rows, seen)));
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
    ["Means", "Over the questions of a setting, then over the settings of a kind: every language has the same weight."],
    ["Intervals", "95 %, by resampling whole clusters (articles where the data has them), translations always together."],
    ["Texts/s (a column to choose)", "It depends on the machine that made a result: it compares encoders only if the machine was the same."],
  ];
  place("colophon").replaceChildren(h("dl", null, terms.map(([term, text]) => [h("dt", null, term), h("dd", null, text)])),
    h("p", null, `Made by xlir-bench leaderboard --html (xlir-bench ${data.version}) from stored results.`));
}

function draw() {
  hideTip();
  if (!data.tasks.length) {
    place("ranking").replaceChildren(h("p", { class: "empty" }, "No result here can be ranked. README.md beside this page says why."));
    return;
  }
  settle();
  const task = taskNow();
  drawToolbar(task);
  drawRankingSection(task);
  const langs = seenLangs(task);
  drawDetailSection(task, langs);
  drawQuestionsSection(task);
  drawAlignmentSection(task, langs);
  drawReported(task);
  hint();
}

recall();
draw();
drawColophon();
addEventListener("hashchange", () => { recall(); draw(); });
let seenWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== seenWidth) draw();
  seenWidth = innerWidth;
});
