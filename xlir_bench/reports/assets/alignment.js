// How well up to three encoders align the languages: heat maps of language pairs, and figures of all languages.
const TEXTS = {
  questions: ["questions", "question"],
  answers: ["passages that answer", "passage"],
  relevance: ["questions and their passages", null],
};

const textsOf = (row, name) => (row.alignment ? row.alignment.texts.find((texts) => texts.name === name) : undefined);

function alignmentChoices(rows, state) {
  const all = rows.flatMap((row) => (row.alignment ? row.alignment.texts : []));
  const names = [...new Set(all.map((texts) => texts.name))];
  const name = names.includes(state.texts) ? state.texts : names[0];
  const cuts = [...new Set(all.filter((texts) => texts.name === name).flatMap((texts) => Object.keys(texts.values)))].filter((figure) => figure.startsWith("recall@"));
  return { names, name, cuts, cut: cuts.includes(state.found) ? state.found : cuts[0] };
}

// One scale for all encoders and kinds of text: what looks the same is the same.
function alignmentTop(task, figure) {
  return scaleTop(task.rows.flatMap((row) => (row.alignment ? row.alignment.texts : [])).flatMap((texts) => (texts.values[figure] || []).flat()));
}

// A value that rounds to -0 is shown as 0.
const level = (value) => score(Number(value.toFixed(3)) === 0 ? 0 : value, 3);
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const cutOf = (figure) => figure.split("@")[1];

// The recall of a random ranking of all texts in the language of the column: about, as a text may have several translations.
function recallByChance(texts, figure, x) {
  return Math.min(1, Number(cutOf(figure)) / Math.max(1, ...texts.n[x].map((n) => n ?? 0)));
}

function drawAlignmentMaps(task, rows, some, { name, cut }) {
  return rows.flatMap((row, i) => {
    const texts = textsOf(row, name);
    if (!texts) return [];
    return ["margin", cut].filter((figure) => texts.values[figure]).map((figure) => alignmentMap(row, some, LETTERS[i], texts, figure, alignmentTop(task, figure)));
  });
}

function alignmentMap(row, some, letter, texts, figure, top) {
  const { langs, values, n } = texts;
  const seen = langs.filter(some);
  const cellOf = (p, q) => {
    const [y, x] = [langs.indexOf(p), langs.indexOf(q)];
    const at = (name) => values[name][y][x];
    const value = at(figure);
    if (!known(value)) return h("td", { class: "none" }, "–");
    const heat = Math.min(1, Math.abs(value) / top);
    const recalls = Object.keys(values).filter((name) => name.startsWith("recall@"));
    const tip = {
      title: pairName(p, q),
      rows: [["margin", score(at("margin"))], [n ? "cosine of translations" : "cosine with relevant", score(at("near"))], [n ? "of other pairs" : "with others", score(at("near") - at("margin"))], ...recalls.map((name) => [name, score(at(name))]), [`${figure} by chance, about`, figure === "margin" ? null : level(recallByChance(texts, figure, x))], ["n", n ? count(n[y][x]) : null]],
      note: row.name,
    };
    const classes = value < 0 ? "less" : heat > DEEP ? "deep" : null;
    return h("td", { tip, class: classes, vars: { "--heat": (value < 0 ? 62 : 100) * heat + "%" } }, level(value));
  };
  const all = values[figure].flat().filter(known);
  const chance = figure === "margin" ? "" : `, by chance about ${level(average(langs.map((_, x) => recallByChance(texts, figure, x))))}`;
  const table = matrixTable(seen, seen, n ? ["text ↓", "translation →"] : ["query ↓", "passages →"], "matrix", cellOf);
  return h("figure", { "data-figure": figure },
    h("figcaption", null, h("span", { class: `chip slot-${letter}` }, letter.toUpperCase()), h("bdi", null, row.name), h("span", { class: "mean" }, `${figure}: mean ${level(average(all))}${chance}`)),
    table,
    h("div", { class: "legend" }, "0", h("span", { class: "ramp" }), score(top, 1), all.some((value) => value < 0) ? h("span", null, "below 0: other pairs are nearer") : null),
    h("p", { class: "note" }, meaning(texts.name, figure)),
    saves(`${figure} of ${texts.name} ${row.name}`, table.querySelector("table")));
}

function meaning(name, figure) {
  const one = TEXTS[name][1];
  if (!one) return "By how much nearer (cosine) a question in the language of the row is to its passages in that of the column than to other passages.";
  if (figure === "margin") return `By how much nearer (cosine) a ${one} in the language of the row is to its translation in that of the column than to other ${one}s.`;
  const cut = cutOf(figure);
  return `How often, for a ${one} in the language of the row, its translation is ${cut === "1" ? "the nearest" : `among the ${cut} nearest`} of all in the language of the column.`;
}

function drawAlignmentFigures(rows, some) {
  const shown = rows.map((row, i) => ({ row, part: row.alignment, letter: LETTERS[i] })).filter(({ part }) => part);
  const ink = ({ letter }) => (shown.length > 1 ? `${letter}-ink` : null);
  const heads = (titles) => h("thead", null, h("tr", null, titles.map(([title, class_]) => h("th", { scope: "col", class: class_ }, title))));
  const line = (title, cells) => h("tr", null, h("th", { scope: "row" }, title), cells.map((text) => h("td", null, text)));
  const letters = shown.map((one) => [shown.length > 1 ? one.letter.toUpperCase() : "", ink(one)]);

  const langs = [...new Set(shown.flatMap(({ part }) => part.cosines.map(([lang]) => lang)))].filter(some).sort();
  const cosines = (part, lang) => (part.cosines.find(([own]) => own === lang) || ["", null, null]).slice(1);
  const byLang = h("table", { class: "tally", "data-table": "cosines" },
    heads([["language", null], ...shown.flatMap((one, i) => ["questions", "passages"].map((role) => [`${letters[i][0]} ${role}`, ink(one)]))]),
    h("tbody", null, langs.map((lang) => line(lang, shown.flatMap(({ part }) => cosines(part, lang).map((value) => score(value)))))));

  const first = (list, key) => (list.find(([own]) => own === key) || ["", null])[1];
  const keys = (name) => [...new Set(shown.flatMap(({ part }) => part[name].map(([key]) => key)))];
  const centred = ({ row, part }, kind) => {
    const value = first(part.centred, kind);
    const before = row.summary[kind] && row.summary[kind].map;
    return score(value) + (known(value) && before ? ` (${signed(value - before[0], 4)})` : "");
  };
  const whole = h("table", { class: "tally", "data-table": "whole" },
    heads([["all languages", null], ...letters]),
    h("tbody", null,
      keys("variance").map((role) => line(`variance of ${role} vectors explained by language`, shown.map(({ part }) => percent(first(part.variance, role))))),
      keys("centred").map((kind) => line(`${kind} map without language centroids`, shown.map((one) => centred(one, kind)))),
      line("hubness", shown.map(({ part }) => (known(part.hubness) ? part.hubness.toFixed(2) : "–")))));
  return [
    h("div", null, h("h3", null, "Anisotropy: cosine of two texts of a language"), h("div", { class: "scroll" }, byLang), h("p", { class: "note" }, "Near 1, all texts of a language point the same way.")),
    h("div", null, h("h3", null, "Effect of the language alone"), h("div", { class: "scroll" }, whole), h("p", { class: "note" }, "Without centroids: each language's mean vector is subtracted (in brackets, the change). Hubness: skew of how often a passage is among the ten best; 0: all are found equally often.")),
  ];
}
