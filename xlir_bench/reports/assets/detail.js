// Up to three encoders beside each other: matrices of language pairs, their differences, bias bars.
const LETTERS = ["a", "b", "c"];
const POOL = "*";

function drawMatrix(task, langs, row, letter, measure, top) {
  const at = new Map(row.cells.map((cell) => [`${cell.q} ${cell.p}`, cell]));
  const cellOf = (q, p) => {
    const cell = at.get(`${q} ${p}`);
    const value = cell && cell.values[measure];
    if (!known(value)) return h("td", { class: p === POOL ? "none pool" : "none" }, "–");
    const heat = Math.min(1, value / top);
    const [low, high] = (cell.intervals && cell.intervals[measure]) || [];
    const tip = {
      title: pairName(q, p),
      rows: [[measure, score(value)], ["95 % interval", interval(low, high, score) || "not stored"], ["n (queries)", count(cell.n)], ["candidates", count(cell.candidates)], ["chance", measure === "map" ? score(cell.chance) : null]],
      note: row.name,
    };
    const classes = [p === POOL ? "pool" : "", heat > DEEP ? "deep" : ""].join(" ").trim();
    return h("td", { tip, class: classes || null, vars: { "--heat": 100 * heat + "%" } }, score(value, 3));
  };
  const table = matrixTable(langs, columnsOf(langs, row), ["query ↓", "passages →"], "matrix", cellOf);
  return h("figure", null,
    h("figcaption", null, h("span", { class: `chip slot-${letter}` }, letter.toUpperCase()), h("bdi", null, row.name)),
    table, saves(`${task.title} ${measure} ${row.name}`, table.querySelector("table")));
}

// Above this share of the scale a cell has the other text colour: both have a contrast of 4.5:1 or more.
const DEEP = 0.6;

function columnsOf(langs, row) {
  return [...langs, ...(row.cells.some((cell) => cell.p === POOL) ? [POOL] : [])];
}

function matrixTable(langs, columns, [down, across], name, cellOf) {
  const title = (p) => h("th", { scope: "col", class: p === POOL ? "pool" : null, title: p === POOL ? "all languages" : languageName(p) }, p === POOL ? "all" : p);
  const head = h("tr", null, h("th", { scope: "col" }, down), columns.map(title));
  const lines = langs.map((q) => h("tr", { "data-line": true }, h("th", { scope: "row", title: languageName(q) }, q), columns.map((p) => cellOf(q, p))));
  const vars = { "--columns": columns.length, "--code": langs.reduce((most, lang) => Math.max(most, lang.length), 0) };
  return oneStop(h("div", { class: "scroll" }, h("table", { class: name, vars }, h("caption", null, across), h("thead", null, head), h("tbody", null, lines))));
}

// The end of a scale that starts at 0: the next tenth above all values.
function scaleTop(values) {
  const most = values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  return Math.min(1, Math.max(0.1, Math.ceil(10 * most) / 10));
}

function matrixTop(task, measure) {
  return scaleTop(task.rows.flatMap((row) => row.cells.map((cell) => cell.values[measure])));
}

function drawDifference(task, langs, a, b, [one, other], measure) {
  const of = (row) => new Map(row.cells.map((cell) => [`${cell.q} ${cell.p}`, cell]));
  const [first, second] = [of(a), of(b)];
  const pairs = [...first].filter(([key]) => second.has(key)).map(([key, cell]) => cell.values[measure] - second.get(key).values[measure]).filter(Number.isFinite);
  const most = Math.max(0.02, ...pairs.map(Math.abs));
  const cellOf = (q, p) => {
    const [x, y] = [first.get(`${q} ${p}`), second.get(`${q} ${p}`)];
    const gap = x && y ? x.values[measure] - y.values[measure] : NaN;
    if (!Number.isFinite(gap)) return h("td", { class: p === POOL ? "none pool" : "none" }, "–");
    const tip = {
      title: pairName(q, p),
      rows: [["difference", signed(gap, 4)], [`${one}: ${measure}`, told(x, measure)], [`${other}: ${measure}`, told(y, measure)], ["n (queries)", x.n === y.n ? count(x.n) : `${count(x.n)} and ${count(y.n)}`]],
      note: `${gap > 0 ? one : gap < 0 ? other : "neither"} is better; xlir-bench compare gives an interval of the difference`,
    };
    const classes = `${gap < 0 ? "less" : "more"}${p === POOL ? " pool" : ""}`;
    return h("td", { tip, class: classes, vars: { "--heat": (62 * Math.abs(gap)) / most + "%" } }, signed(gap));
  };
  const table = matrixTable(langs, columnsOf(langs, a), ["query ↓", "passages →"], "matrix difference", cellOf);
  return h("figure", null,
    h("figcaption", null, `${one} minus ${other}`), table,
    h("div", { class: "legend" }, `${other} better by ${score(most, 2)}`, h("span", { class: "ramp both" }), `${one} better by ${score(most, 2)}`),
    saves(`${task.title} ${measure} ${a.name} minus ${b.name}`, table.querySelector("table")));
}

function told(cell, measure) {
  const bounds = cell.intervals && cell.intervals[measure];
  return score(cell.values[measure]) + (bounds ? ` (${score(bounds[0], 3)} to ${score(bounds[1], 3)})` : "");
}

function drawTally(task, rows, measure) {
  const line = (title, parts, show, gap, tipRows) => (parts.every(known) ? h("tr", { "data-line": true }, h("th", { scope: "row" }, title),
    parts.map((part, i) => h("td", { tip: { title: rows[i].name, rows: tipRows(rows[i], part) } }, show(part))),
    parts.slice(1).map((part) => h("td", null, gap(parts[0], part)))) : null);
  const lines = task.kinds.map((kind) => line(kind, rows.map((row) => row.summary[kind] && row.summary[kind][measure]), (part) => score(part[0]), (x, y) => signed(x[0] - y[0], 4),
    (row, part) => {
      const cells = row.cells.filter((cell) => cell.kind === kind);
      return [[`${kind} ${measure}`, score(part[0])], ["95 % interval", interval(part[1], part[2], score) || "none stored"], ["settings", count(cells.length)], ["queries", count(cells.reduce((sum, cell) => sum + cell.n, 0))]];
    }));
  const between = (x, y) => (x.mean > y.mean ? "+" : x.mean < y.mean ? "−" : "") + distance(Math.abs(x.mean - y.mean));
  lines.push(line("rank distance", rows.map((row) => row.bias.rank_distance), (view) => distance(view.mean), between,
    (_, view) => [["rank distance", distance(view.mean)], ["95 % interval", interval(view.low, view.high, distance) || "none stored"], ["queries", count(view.n)], ["chance", distance(view.chance)]]));
  const letters = rows.map((_, i) => LETTERS[i].toUpperCase());
  const head = h("tr", null, h("th", { scope: "col" }, measure), letters.map((letter) => h("th", { scope: "col", class: `${letter.toLowerCase()}-ink` }, letter)), letters.slice(1).map((letter) => h("th", { scope: "col" }, `A − ${letter}`)));
  return oneStop(h("div", { class: "scroll" },
    h("table", { class: "tally" }, h("thead", null, head), h("tbody", null, lines)),
    h("p", { class: "note" }, "xlir-bench compare tests whether a difference is more than chance.")));
}

// What was run: prompts, revision, date.
function drawAbout(task, rows) {
  const names = [...new Set(rows.flatMap((row) => row.about.map(([name]) => name)))];
  const cells = (name) => rows.map((row) => (row.about.find(([own]) => own === name) || ["", "–"])[1]);
  const head = h("tr", null, h("th", { scope: "col" }), rows.map((row, i) => h("th", { scope: "col", class: `${LETTERS[i]}-ink` }, h("bdi", null, row.name))));
  const links = h("tr", null, h("th", { scope: "row" }, "all its figures"), rows.map((row) => h("td", null, h("a", { href: pageOf(task, row) }, "its page"))));
  return h("details", { class: "about" }, h("summary", null, "What was run, and when"),
    h("div", { class: "scroll" }, h("table", { class: "tally" }, h("thead", null, head), h("tbody", null, names.map((name) => h("tr", null, h("th", { scope: "row" }, name), cells(name).map((text) => h("td", null, h("bdi", null, text))))), links))));
}

// Bias.
const VIEWS = [
  ["rank_distance", "Rank distance", "How far apart the answers in all languages stand; lower is better.", distance],
  ["same_language_preference", "Own language first", "How often the first answer found is in the language of the question; nearer to chance is better.", percent],
  ["top10_language_share", "Languages of the top ten", "Share of each language among the ten best, mean over query languages; nearer to its share of the pool is better.", percent],
  ["map_without_same_language", "Map without own language", "The answers in the question's own language taken out; higher is better.", score],
  ["parallel_query_agreement", "Agreement of translations", "Overlap of the top 100 that translations of a question find; higher is better.", score],
];

function drawBias(rows, some) {
  return VIEWS.filter(([name]) => rows.some((row) => row.bias[name])).map(([name, title, reading, show]) => biasCard(rows, some, name, title, reading, show));
}

function biasCard(rows, some, name, title, reading, show) {
  const shown = rows.map((row, i) => ({ row, view: row.bias[name], letter: LETTERS[i] })).filter(({ view }) => view);
  const langs = [...new Set(shown.flatMap(({ view }) => Object.keys(view.by)))].filter(some).sort();
  const chanceOf = (view, lang) => (known(view.chanceBy[lang]) ? view.chanceBy[lang] : view.chance);
  const top = Math.max(1e-9, ...shown.flatMap(({ view }) => langs.flatMap((lang) => [view.by[lang] ?? 0, chanceOf(view, lang) ?? 0])));
  const means = shown.filter(({ view }) => known(view.mean)).map(({ row, view, letter }) => {
    const tip = { title: row.name, rows: [[`${title.toLowerCase()}, mean`, show(view.mean)], ["95 % interval", interval(view.low, view.high, show) || "none stored"], ["n (queries)", count(view.n)], ["chance", show(view.chance)]] };
    return h("strong", { class: `slot-${letter}`, tip }, show(view.mean));
  });
  const chance = shown[0].view.chance;
  const header = h("p", { class: "means", "data-line": true }, means, h("span", null, h("i", { class: "key" }), known(chance) ? `chance ${show(chance)}` : "share of the pool"));
  const lines = langs.map((lang) => {
    const tip = { title: `${title}: ${languageName(lang)}`, rows: shown.flatMap(({ row, view }) => [[row.name, show(view.by[lang])], ["95 % interval", view.intervals && view.intervals[lang] ? interval(...view.intervals[lang], show) : "not stored"], ["n (queries)", count(view.nBy[lang] ?? view.n)]]).concat([["chance", show(chanceOf(shown[0].view, lang))]]) };
    const fills = shown.map(({ view, letter }) => h("span", { class: `fill slot-${letter}`, vars: { "--v": share(view.by[lang] ?? 0, top) } }));
    const tick = h("span", { class: "chance", vars: { "--c": share(chanceOf(shown[0].view, lang) ?? 0, top) } });
    return h("div", { class: "row", "data-line": true }, h("span", { class: "lang" }, h("bdi", null, lang), " ", languageName(lang) === lang ? "" : h("small", null, languageName(lang))), h("div", { class: "area", tip, role: "img", "aria-label": `${lang}: ${shown.map(({ row, view }) => `${row.name} ${show(view.by[lang])}`).join(", ")}` }, fills, tick), h("span", { class: "value" }, shown.map(({ view }) => show(view.by[lang])).join(" · ")));
  });
  return oneStop(h("div", { class: "card", "data-view": name }, h("h3", null, title), h("p", { class: "note" }, reading), header, h("div", { class: shown.length > 1 ? "bars several" : "bars" }, lines)));
}
