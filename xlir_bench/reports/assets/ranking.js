// The ranking of a task: it can be sorted and filtered, and one chooses its columns and up to three encoders.
function columns(task, measure) {
  const kinds = task.kinds.map((kind) => ({
    key: kind, title: `${kind} ${measure}`, best: "high", kind,
    value: (row) => (row.summary[kind] && row.summary[kind][measure] ? row.summary[kind][measure][0] : null),
  }));
  return [
    { key: "encoder", title: "Encoder", value: (row) => row.name.toLowerCase(), class: "name" },
    ...kinds,
    { key: "distance", title: "Rank distance", best: "low", value: (row) => (row.bias.rank_distance ? row.bias.rank_distance.mean : null) },
    { key: "dimension", title: "Dimension", value: (row) => row.dimension },
    { key: "parameters", title: "Parameters", value: (row) => row.parameters },
    { key: "speed", title: "Texts/s", value: (row) => row.speed },
    // Left out where `xlir-bench profile` measured no encoder: the column would be empty.
    { key: "latency", title: "Query ms", best: "low", value: (row) => row.latency },
    { key: "bytesPerVector", title: "Bytes a vector", best: "low", value: (row) => row.bytesPerVector },
  ].filter((column) => !["latency", "bytesPerVector"].includes(column.key) || task.rows.some((row) => known(column.value(row))));
}

// The columns that are shown if none are chosen: fewer in a narrower window.
function shownColumns(task, state) {
  const all = columns(task, state.measure);
  const chosen = state.columns.split(".").filter((key) => all.some((column) => column.key === key));
  if (chosen.length) return all.filter(({ key }) => key === "encoder" || chosen.includes(key));
  const least = { monolingual: 980, "cross-lingual": 840, multilingual: 840, dimension: 1170, parameters: 1090, speed: Infinity, latency: Infinity, bytesPerVector: Infinity, [task.rankedBy]: 0 };
  return all.filter(({ key }) => innerWidth >= (least[key] ?? 0));
}

function inWhichOrder(task, state) {
  const column = columns(task, state.measure).find(({ key }) => key === state.sort.key);
  if (!column) return `${state.sort.down ? "Worst" : "Best"} first by ${task.rankedBy} ${task.main}.`;
  if (!column.best) return `By ${column.title.toLowerCase()}, ${state.sort.down ? "descending" : "ascending"}.`;
  return `${(column.best === "high") === state.sort.down ? "Best" : "Worst"} first by ${column.title[0].toLowerCase() + column.title.slice(1)}.`;
}

function chooseColumns(task, state, change) {
  const shown = new Set(shownColumns(task, state).map(({ key }) => key));
  const boxes = columns(task, state.measure).slice(1).map(({ key, title }) => {
    const toggle = (event) => {
      shown[event.target.checked ? "add" : "delete"](key);
      change({ columns: [...shown].join("."), focus: `column-${key}` });
    };
    return h("label", null, h("input", { type: "checkbox", id: `column-${key}`, checked: shown.has(key), onchange: toggle }), title);
  });
  return h("details", { class: "columns", open: state.choosing, ontoggle: (event) => { state.choosing = event.target.open; } }, h("summary", null, "columns"), boxes);
}

function saveRanking(task, state) {
  const all = columns(task, state.measure);
  const lines = task.rows.map((row) => [row.rank, ...all.map((column) => (column.key === "encoder" ? row.name : column.value(row)))]);
  keep(`${task.id} ${state.measure}.csv`, csv([["rank", ...all.map(({ title }) => title)], ...lines]));
}

const pageOf = (task, row) => [task.id, row.id].map(encodeURIComponent).join("/") + ".md";

function drawRanking(task, state, change) {
  const all = shownColumns(task, state);
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = task.rows.filter((row) => words.every((word) => `${row.name} ${row.kind}`.toLowerCase().includes(word)));
  const column = columns(task, state.measure).find((c) => c.key === state.sort.key);
  if (column) shown.sort((one, two) => compareBy(column, one, two, state.sort.down) || one.rank - two.rank);
  else if (state.sort.down) shown.reverse();
  const head = h("tr", null, headCell({ key: "rank", title: "#", class: "rank" }, state, change), h("th", { scope: "col", class: "pick" }), all.map((c) => headCell(c, state, change)));
  const body = shown.map((row) => rankingLine(task, row, all, state, change));
  if (!words.length) body.push(chanceLine(task, all, state.measure));
  const table = h("table", { class: "ranking" }, h("thead", null, head), h("tbody", null, body));
  return [oneStop(h("div", { class: "scroll" }, table)), shown.length];
}

function compareBy(column, one, two, down) {
  const [a, b] = [column.value(one), column.value(two)];
  if (!known(a) || !known(b)) return known(a) ? -1 : known(b) ? 1 : 0;
  const order = a < b ? -1 : a > b ? 1 : 0;
  return down ? -order : order;
}

function headCell(column, state, change) {
  const active = state.sort.key === column.key;
  const sort = () => {
    const first = column.best !== "low" && column.key !== "encoder" && column.key !== "rank";
    change({ sort: { key: column.key, down: active ? !state.sort.down : first }, focus: `sort-${column.key}` });
  };
  const arrow = h("span", { class: "arrow", "aria-hidden": "true" }, active && !state.sort.down ? "↑" : "↓");
  const button = h("button", { type: "button", id: `sort-${column.key}`, onclick: sort }, column.title, arrow);
  return h("th", { scope: "col", class: column.class, "aria-sort": active ? (state.sort.down ? "descending" : "ascending") : null }, button);
}

function rankingLine(task, row, all, state, change) {
  const slot = (letter) => h("button", {
    type: "button", class: `slot-${letter}`, "aria-pressed": String(state[letter] === row.id), id: `pick-${letter}-${row.rank}`,
    "aria-label": `Show ${row.name} as ${letter.toUpperCase()}`,
    onclick: () => change({ [letter]: state[letter] === row.id && letter !== "a" ? "" : row.id, focus: `pick-${letter}-${row.rank}` }),
  }, letter.toUpperCase());
  const picked = LETTERS.filter((letter) => state[letter] === row.id).map((letter) => `picked ${letter}`)[0] || "";
  const name = h("td", { class: "name" }, h("a", { href: pageOf(task, row) }, h("bdi", null, row.name)), h("small", null, row.kind), row.note && h("small", null, row.note));
  return h("tr", { class: picked || null, "data-line": true, "data-encoder": row.id },
    h("td", { class: "rank" }, String(row.rank)),
    h("td", { class: "pick" }, h("span", { class: "slots" }, LETTERS.map(slot))),
    name,
    all.slice(1).map((column) => rankingCell(task, row, column, state.measure)));
}

function rankingCell(task, row, column, measure) {
  const value = column.value(row);
  if (!known(value)) return h("td", null, "–");
  if (column.kind) return scoreCell(task, row, column, measure);
  if (column.key === "distance") return distanceCell(task, row, column);
  const plain = { dimension: count, parameters: millions, speed: (v) => (v >= 10 ? count(v) : v.toFixed(1)), latency: (v) => (v >= 100 ? count(v) : v.toPrecision(3)), bytesPerVector: count }[column.key];
  return h("td", null, plain(value));
}

function isBest(task, column, value) {
  const values = task.rows.map(column.value).filter(known);
  return value === (column.best === "low" ? Math.min(...values) : Math.max(...values));
}

function scoreCell(task, row, column, measure) {
  const [value, low, high] = row.summary[column.kind][measure];
  const cells = row.cells.filter((cell) => cell.kind === column.kind);
  const standing = measure === task.main ? row.standings[column.kind] : undefined;
  const best = isBest(task, column, value);
  const top = Math.max(...task.rows.map((r) => r.summary[column.kind] && r.summary[column.kind][measure]).filter(Boolean).map(([mean, , upper]) => upper ?? mean), 1e-9);
  const tip = {
    title: row.name,
    rows: [
      [`${column.kind} ${measure}`, score(value)],
      ["95 % interval", interval(low, high, score) || "none stored"],
      ["settings", count(cells.length)],
      ["queries", count(cells.reduce((sum, cell) => sum + cell.n, 0))],
      ["chance", measure === "map" ? score(task.chance[column.kind]) : null],
      ...standingRows(task, row, column.kind, standing),
    ],
    note: best ? "the best of this column" : `interval over ${count(task.clusters)} clusters (${task.cluster})`,
  };
  const vars = { "--v": share(value, top), "--lo": share(low ?? value, top), "--hi": share(high ?? value, top) };
  const track = h("span", { class: "track", vars, "aria-hidden": "true" }, h("span", { class: "range" }), h("span", { class: "dot" }));
  return h("td", { tip, "data-column": column.key }, h("span", { class: best ? "score best" : "score" }, h("b", null, score(value)), track, ranks(standing)));
}

// The ranks that an encoder may have, and the letters of the groups that cannot be told apart.
const rankRange = ([first, last]) => (first === last ? `${first}` : `${first}–${last}`);
const ranks = (standing) => (standing ? h("small", { class: "ranks" }, `${rankRange(standing)} ${standing[2].join("")}`) : null);

function standingRows(task, row, key, standing) {
  if (!standing) return [];
  const alike = task.rows.filter((other) => other !== row && other.standings[key] && other.standings[key][2].some((letter) => standing[2].includes(letter)));
  return [["ranks it may have", rankRange(standing)], ["not told apart from", alike.map((other) => other.name).join(", ") || "nobody"]];
}

function distanceCell(task, row, column) {
  const view = row.bias.rank_distance;
  const tip = {
    title: row.name,
    rows: [["rank distance", distance(view.mean)], ["95 % interval", interval(view.low, view.high, distance) || "none stored"], ["queries", count(view.n)], ["chance", distance(view.chance)], ...standingRows(task, row, "rank_distance", row.standings.rank_distance)],
    note: "lower is better",
  };
  return h("td", { tip, "data-column": "distance", class: isBest(task, column, view.mean) ? "best" : "plain" }, h("b", null, distance(view.mean)), ranks(row.standings.rank_distance));
}

function chanceLine(task, all, measure) {
  const first = task.rows[0].bias.rank_distance;
  const cells = all.slice(1).map((column) => {
    if (column.kind) return h("td", null, measure === "map" ? h("span", { class: "score" }, score(task.chance[column.kind]), h("span", { class: "track" })) : "");
    return h("td", null, column.key === "distance" && first ? distance(first.chance) : "");
  });
  return h("tr", { class: "chance" }, h("td", { class: "rank" }), h("td", { class: "pick" }), h("td", { class: "name" }, "chance"), cells);
}
