// The questions of a language that A answers worst and best, and how B and C answer them.
const askedIn = (task, lang) => (task.langs.includes(lang) ? lang : task.langs.includes("en") ? "en" : task.langs[0]);

function drawQuestions(task, rows, lang) {
  const { kind, worst, best, byLang } = task.questions;
  const places = rows.map((row) => task.rows.indexOf(row));
  const ofA = (question) => question.values[places[0]];
  const sorted = (way) => byLang[lang].filter((question) => known(ofA(question))).sort((x, y) => way * (ofA(x) - ofA(y)) || (x.id < y.id ? -1 : 1));
  const hardest = sorted(1).slice(0, worst);
  const easiest = sorted(-1).filter((question) => !hardest.includes(question)).slice(0, best);
  const figure = (question, at) => h("td", null, score(question.values[at]), h("small", null, placeOf(question.ranks[at])));
  const line = (question) => h("tr", null, places.map((at) => figure(question, at)),
    h("td", { class: "text" }, h("p", { dir: "auto", lang }, question.text),
      question.answer ? h("p", { class: "answer", dir: "auto", lang }, question.answer) : null, h("small", null, h("bdi", null, question.id))));
  const group = (title, questions) => (questions.length ? h("tbody", null, h("tr", null, h("th", { scope: "rowgroup", colspan: rows.length + 1 }, title)), questions.map(line)) : null);
  const heads = rows.map((row, i) => h("th", { scope: "col", class: `${LETTERS[i]}-ink`, title: row.name }, LETTERS[i].toUpperCase()));
  return [
    h("p", { class: "note" }, `${task.main} of each question ${kind === "multilingual" ? "in the pool of all languages" : `in ${kind} settings`}, the rank of its first answer, its text, and an answer. Texts are ${task.licence}.`),
    h("div", { class: "scroll" }, h("table", { class: "asked" },
      h("thead", null, h("tr", null, heads, h("th", { scope: "col" }, "question and answer"))),
      group(`hardest for ${rows[0].name}`, hardest), group(`best answered by ${rows[0].name}`, easiest))),
  ];
}

const placeOf = (rank) => (rank ? `rank ${count(rank)}` : rank === 0 ? "not found" : "");
