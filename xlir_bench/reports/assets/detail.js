// One encoder, or two beside each other: matrices of language pairs, their difference, bias bars.
const POOL = "*";

function drawMatrix(task, row, letter, measure, top) {
  const at = new Map(row.cells.map((cell) => [`${cell.q} ${cell.p}`, cell]));
  const cellOf = (q, p) => {
    const cell = at.get(`${q} ${p}`);
    const value = cell && cell.values[measure];
    if (!known(value)) return h("td", { class: p === POOL ? "none pool" : "none" }, "–");
    const heat = Math.min(1, value / top);
    const [low, high] = (cell.intervals && cell.intervals[measure]) || [];
    const tip = {
      title: `${q} → ${p === POOL ? "all languages" : p}`,
      rows: [[measure, score(value)], ["95 % interval", interval(low, high, score) || "not stored"], ["n (queries)", count(cell.n)], ["candidates", count(cell.candidates)], ["chance", measure === "map" ? score(cell.chance) : null]],
      note: row.name,
    };
    const classes = [p === POOL ? "pool" : "", heat > DEEP ? "deep" : ""].join(" ").trim();
    return h("td", { tip, class: classes || null, vars: { "--heat": 100 * heat + "%" } }, score(value, 3));
  };
  return h("figure", null,
    h("figcaption", null, h("span", { class: `chip slot-${letter}` }, letter.toUpperCase()), h("bdi", null, row.name)),
    matrixTable(task.langs, columnsOf(task, row), "query ↓", "matrix", cellOf));
}

// Above this share of the scale the ink of a cell turns over; both inks keep 4.5:1 on their side of it.
const DEEP = 0.6;

function columnsOf(task, row) {
  return [...task.langs, ...(row.cells.some((cell) => cell.p === POOL) ? [POOL] : [])];
}

function matrixTable(langs, columns, corner, name, cellOf) {
  const title = (p) => h("th", { scope: "col", class: p === POOL ? "pool" : null }, p === POOL ? "all" : p);
  const head = h("tr", null, h("th", { scope: "col" }, corner), columns.map(title));
  const lines = langs.map((q) => h("tr", { "data-line": true }, h("th", { scope: "row" }, q), columns.map((p) => cellOf(q, p))));
  const vars = { "--columns": columns.length, "--code": langs.reduce((most, lang) => Math.max(most, lang.length), 0) };
  return oneStop(h("div", { class: "scroll" }, h("table", { class: name, vars }, h("thead", null, head), h("tbody", null, lines))));
}

// The end of a scale that starts at 0: the next tenth above all values.
function scaleTop(values) {
  const most = values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  return Math.min(1, Math.max(0.1, Math.ceil(10 * most) / 10));
}

function matrixTop(task, measure) {
  return scaleTop(task.rows.flatMap((row) => row.cells.map((cell) => cell.values[measure])));
}

function drawDifference(task, a, b, measure) {
  const of = (row) => new Map(row.cells.map((cell) => [`${cell.q} ${cell.p}`, cell]));
  const [first, second] = [of(a), of(b)];
  const pairs = [...first].filter(([key]) => second.has(key)).map(([key, cell]) => cell.values[measure] - second.get(key).values[measure]).filter(Number.isFinite);
  const most = Math.max(0.02, ...pairs.map(Math.abs));
  const cellOf = (q, p) => {
    const [x, y] = [first.get(`${q} ${p}`), second.get(`${q} ${p}`)];
    const gap = x && y ? x.values[measure] - y.values[measure] : NaN;
    if (!Number.isFinite(gap)) return h("td", { class: p === POOL ? "none pool" : "none" }, "–");
    const tip = {
      title: `${q} → ${p === POOL ? "all languages" : p}`,
      rows: [["difference", signed(gap, 4)], [`A: ${measure}`, told(x, measure)], [`B: ${measure}`, told(y, measure)], ["n (queries)", x.n === y.n ? count(x.n) : `${count(x.n)} and ${count(y.n)}`]],
      note: `${gap > 0 ? "A" : gap < 0 ? "B" : "neither"} is better; for an interval of the difference: xlir-bench compare`,
    };
    const classes = `${gap < 0 ? "less" : "more"}${p === POOL ? " pool" : ""}`;
    return h("td", { tip, class: classes, vars: { "--heat": (62 * Math.abs(gap)) / most + "%" } }, signed(gap));
  };
  return h("figure", null,
    h("figcaption", null, "A minus B"),
    matrixTable(task.langs, columnsOf(task, a), "query ↓", "matrix difference", cellOf),
    h("div", { class: "legend" }, `B better by ${score(most, 2)}`, h("span", { class: "ramp both" }), `A better by ${score(most, 2)}`));
}

function told(cell, measure) {
  const bounds = cell.intervals && cell.intervals[measure];
  return score(cell.values[measure]) + (bounds ? ` (${score(bounds[0], 3)} to ${score(bounds[1], 3)})` : "");
}

function drawTally(task, a, b, measure) {
  const lines = task.kinds.map((kind) => {
    const [x, y] = [a, b].map((row) => row.summary[kind] && row.summary[kind][measure]);
    if (!x || !y) return null;
    const tip = (row, part) => ({ title: row.name, rows: [[`${kind} ${measure}`, score(part[0])], ["95 % interval", interval(part[1], part[2], score) || "none stored"], ["settings", count(row.cells.filter((cell) => cell.kind === kind).length)], ["queries", count(row.cells.filter((cell) => cell.kind === kind).reduce((sum, cell) => sum + cell.n, 0))]] });
    return h("tr", { "data-line": true }, h("th", { scope: "row" }, kind), h("td", { tip: tip(a, x) }, score(x[0])), h("td", { tip: tip(b, y) }, score(y[0])), h("td", null, signed(x[0] - y[0], 4)));
  });
  const [x, y] = [a.bias.rank_distance, b.bias.rank_distance];
  if (x && y) {
    const tip = (row, view) => ({ title: row.name, rows: [["rank distance", distance(view.mean)], ["95 % interval", interval(view.low, view.high, distance) || "none stored"], ["queries", count(view.n)], ["chance", distance(view.chance)]], note: "lower is better" });
    const gap = x.mean - y.mean;
    lines.push(h("tr", { "data-line": true }, h("th", { scope: "row" }, "rank distance"), h("td", { tip: tip(a, x) }, distance(x.mean)), h("td", { tip: tip(b, y) }, distance(y.mean)), h("td", null, (gap > 0 ? "+" : gap < 0 ? "−" : "") + distance(Math.abs(gap)))));
  }
  const head = h("tr", null, h("th", { scope: "col" }, measure), h("th", { scope: "col", class: "a-ink" }, "A"), h("th", { scope: "col", class: "b-ink" }, "B"), h("th", { scope: "col" }, "A − B"));
  return oneStop(h("div", null,
    h("table", { class: "tally" }, h("thead", null, head), h("tbody", null, lines)),
    h("p", { class: "note" }, "Whether a difference is more than chance: xlir-bench compare.")));
}

// Bias.
const VIEWS = [
  ["rank_distance", "Rank distance", "How far apart the answers in all languages stand; lower is better.", distance],
  ["same_language_preference", "Own language first", "How often the first answer found is in the language of the question; nearer to chance is better.", percent],
  ["top10_language_share", "Languages of the top ten", "Share of each language among the ten best, mean over query languages; nearer to its share of the pool is better.", percent],
  ["map_without_same_language", "Map without own language", "The answers in the question's own language taken out; higher is better.", score],
  ["parallel_query_agreement", "Agreement of translations", "Overlap of the top 100 that translations of a question find; higher is better.", score],
];

function drawBias(rows) {
  return VIEWS.filter(([name]) => rows.some((row) => row.bias[name])).map(([name, title, reading, show]) => biasCard(rows, name, title, reading, show));
}

function biasCard(rows, name, title, reading, show) {
  const shown = rows.map((row, i) => ({ row, view: row.bias[name], letter: "ab"[i] })).filter(({ view }) => view);
  const langs = [...new Set(shown.flatMap(({ view }) => Object.keys(view.by)))].sort();
  const chanceOf = (view, lang) => (known(view.chanceBy[lang]) ? view.chanceBy[lang] : view.chance);
  const top = Math.max(1e-9, ...shown.flatMap(({ view }) => langs.flatMap((lang) => [view.by[lang] ?? 0, chanceOf(view, lang) ?? 0])));
  const means = shown.filter(({ view }) => known(view.mean)).map(({ row, view, letter }) => {
    const tip = { title: row.name, rows: [[`${title.toLowerCase()}, mean`, show(view.mean)], ["95 % interval", interval(view.low, view.high, show) || "none stored"], ["n (queries)", count(view.n)], ["chance", show(view.chance)]] };
    return h("strong", { class: `slot-${letter}`, tip }, show(view.mean));
  });
  const chance = shown[0].view.chance;
  const header = h("p", { class: "means", "data-line": true }, means, h("span", null, h("i", { class: "key" }), known(chance) ? `chance ${show(chance)}` : "share of the pool"));
  const lines = langs.map((lang) => {
    const tip = { title: `${title}: ${lang}`, rows: shown.flatMap(({ row, view }) => [[row.name, show(view.by[lang])], ["95 % interval", view.intervals && view.intervals[lang] ? interval(...view.intervals[lang], show) : "not stored"], ["n (queries)", count(view.nBy[lang] ?? view.n)]]).concat([["chance", show(chanceOf(shown[0].view, lang))]]) };
    const fills = shown.map(({ view, letter }) => h("span", { class: `fill slot-${letter}`, vars: { "--v": share(view.by[lang] ?? 0, top) } }));
    const tick = h("span", { class: "chance", vars: { "--c": share(chanceOf(shown[0].view, lang) ?? 0, top) } });
    return h("div", { class: "row", "data-line": true }, h("span", { class: "lang" }, lang), h("div", { class: "area", tip, role: "img", "aria-label": `${lang}: ${shown.map(({ row, view }) => `${row.name} ${show(view.by[lang])}`).join(", ")}` }, fills, tick), h("span", { class: "value" }, shown.map(({ view }) => show(view.by[lang])).join(" · ")));
  });
  return oneStop(h("div", { class: "card", "data-view": name }, h("h3", null, title), h("p", { class: "note" }, reading), header, h("div", { class: shown.length > 1 ? "bars two-bars" : "bars" }, lines)));
}
