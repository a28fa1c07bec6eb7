"""The HTML page in a real browser: sort, filter, choose two; what came from outside is only text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from stored import aligned_result, another, change, copy_results, long_codes

from xlir_bench.evaluation import RunOptions
from xlir_bench.records import Silent
from xlir_bench.reports.leaderboard.board import read_board
from xlir_bench.reports.leaderboard.pages import leaderboard_texts
from xlir_bench.reports.leaderboard.single_page import inert_json, question_data
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

HOSTILE = "</script><script>window.owned = true</script><img src=x onerror='window.owned = true'>"
CONTRASTS = """
(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  return [...document.querySelectorAll(".matrix td:not(.none)")].map((cell) => {
    const style = getComputedStyle(cell);
    const [a, b] = [light(style.color), light(style.backgroundColor)];
    return Math.max(a, b) / Math.min(a, b);
  });
})()
"""


def test_text_in_json_cannot_end_the_script_element():
    text = inert_json({"name": "</script><!-- \u2028 &"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"name": "</script><!-- \u2028 &"}


def test_the_page_needs_nothing_from_elsewhere_and_is_the_same_each_time(tmp_path):
    results = copy_results(tmp_path / "results")
    page, again = (
        leaderboard_texts(read_board([results]), html=True)["index.html"] for _ in range(2)
    )
    assert page == again
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "innerHTML" not in page
    assert "eval(" not in page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    results = copy_results(folder / "results")
    another(results, HOSTILE, "hostile", source="builtin-random")
    another(results, "twin", "twin")
    for found in list(results.glob("*/mini")):
        other = found.with_name("xquad-r")
        other.mkdir()
        (other / "result.json").write_bytes((found / "result.json").read_bytes())
        change(other, task={"name": "xquad-r", "title": "XQuAD-R"})
    text = leaderboard_texts(read_board([results]), html=True)["index.html"]
    (folder / "index.html").write_text(text)
    return folder / "index.html"


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three encoders: two with alignment, one of them with a language of a hostile name."""
    folder = tmp_path_factory.mktemp("aligned")
    results = copy_results(folder / "results")
    aligned_result().save(results / "builtin-ngram" / "mini")
    hostile = another(results, HOSTILE, "hostile")
    text = json.dumps(json.loads((hostile / "result.json").read_text())["alignment"])
    for plain in ('"de"', '"de-', '-de"'):
        text = text.replace(plain, plain.replace("de", HOSTILE))
    change(hostile, alignment=json.loads(text))
    text = leaderboard_texts(read_board([results]), html=True)["index.html"]
    (folder / "index.html").write_text(text)
    return folder / "index.html"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with questions, the first of which in German has a hostile text."""
    folder = tmp_path_factory.mktemp("asked")
    board = read_board([copy_results(folder / "results")])
    mini = load_collection(catalogue().get(["mini"])[0], RunOptions(), Silent())
    data = question_data(board.tasks[0], mini)
    for question in data["byLang"]["de"]:
        question["text"] = question["answer"] = HOSTILE
    text = leaderboard_texts(board, html=True, questions={"mini": data})["index.html"]
    (folder / "index.html").write_text(text)
    return folder / "index.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.skip("Chromium is not installed: the page is not driven")
    browser = Browser(found, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    """At the fresh page; any complaint of the console fails the test."""
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open("about:blank")
    chromium.open(page.as_uri())
    yield chromium
    assert chromium.complaints == []


@pytest.fixture
def at_aligned(chromium: Browser, aligned: Path) -> Iterator[Browser]:
    """At the fresh page of results with alignment."""
    chromium.complaints.clear()
    chromium.open("about:blank")
    chromium.open(aligned.as_uri() + "#task=mini&a=builtin-ngram")
    yield chromium
    assert chromium.complaints == []


@pytest.fixture
def at_asked(chromium: Browser, asked: Path) -> Iterator[Browser]:
    """At the fresh page with questions."""
    chromium.complaints.clear()
    chromium.open("about:blank")
    chromium.open(asked.as_uri())
    yield chromium
    assert chromium.complaints == []


def shown_pairs(browser: Browser, figure: str) -> dict[str, float]:
    """A heat map of alignment as it is read: rows, columns, the numbers in the cells."""
    map_ = f"#alignment figure[data-figure='{figure}']"
    langs = texts(browser, f"{map_} tbody th")
    cells = iter(texts(browser, f"{map_} td"))
    read = {(a, b): next(cells) for a in langs for b in langs}
    assert all(text == "–" for (a, b), text in read.items() if a == b)
    return {f"{a}-{b}": float(text) for (a, b), text in read.items() if a != b}


def names(browser: Browser) -> list[str]:
    return browser.run(
        "[...document.querySelectorAll('.ranking [data-encoder] .name bdi')].map((e) => e.textContent)"
    )


def texts(browser: Browser, selector: str) -> list[str]:
    quoted = json.dumps(selector)
    return browser.run(f"[...document.querySelectorAll({quoted})].map((e) => e.textContent)")


def click(browser: Browser, selector: str) -> None:
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.run(
        f"(() => {{ const s = document.querySelector({json.dumps(selector)}); s.value = {json.dumps(value)};"
        " s.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )


def test_it_opens_with_the_ranking_and_asks_for_nothing_else(browser, page):
    assert names(browser)[:2] == ["builtin:ngram", "twin"]
    assert {r.split("#")[0] for r in browser.requests} <= {page.as_uri(), "about:blank", "data:,"}


def test_a_figure_says_which_ranks_it_may_have_and_who_is_not_told_apart(browser):
    cell = "[data-encoder=twin] [data-column=multilingual]"
    assert texts(browser, f"{cell} .ranks") == ["1–2 a"]
    browser.hover(cell)
    told = dict(zip(texts(browser, "#tip dt"), texts(browser, "#tip dd"), strict=True))
    assert [value for name, value in told.items() if "ranks" in name] == ["1–2"]
    assert [value for name, value in told.items() if "told apart" in name] == ["builtin:ngram"]
    assert any(
        re.search(r"\bnot say\b.*\bequal\b", note) for note in texts(browser, "#ranking .note")
    )
    choose(browser, "#measure", "recall@1")
    assert texts(browser, f"{cell} .ranks") == []
    assert texts(browser, "[data-encoder=twin] [data-column=distance] .ranks") != []


def test_a_column_sorts_down_then_up(browser):
    def column() -> list[float]:
        cells = texts(browser, ".ranking [data-column=multilingual] b")
        return [float(cell) for cell in cells]

    click(browser, "#sort-multilingual")
    assert column() == sorted(column(), reverse=True)
    click(browser, "#sort-multilingual")
    assert column() == sorted(column())
    assert browser.run("document.querySelector('th[aria-sort]').ariaSort") == "ascending"
    click(browser, "#sort-encoder")
    assert names(browser) == sorted(names(browser), key=str.lower)


def test_typing_in_the_filter_leaves_matching_encoders(browser):
    browser.run("document.querySelector('#filter').focus()")
    browser.type("builtin RAND")
    assert names(browser) == ["builtin:random"]
    assert texts(browser, "#ranking [role=status]") == ["1 of 4 encoders"]
    assert browser.run("document.activeElement.id") == "filter"


def test_two_encoders_stand_side_by_side_with_their_difference(browser):
    choose(browser, "#choose-a", "builtin-ngram")
    choose(browser, "#choose-b", "builtin-random")
    assert texts(browser, "figcaption bdi") == ["builtin:ngram", "builtin:random"]
    assert len(texts(browser, ".matrix")) == 3
    a, b, gap = (
        [float(t.replace("−", "-").replace("+", "")) for t in texts(browser, f"{figure} td")]
        for figure in (
            "figure:nth-of-type(1)",
            "figure:nth-of-type(2)",
            "figure:nth-of-type(3)",
        )
    )
    assert len(a) == 11 * 12
    assert all(abs(x - y - g) < 0.0016 for x, y, g in zip(a, b, gap, strict=True))
    assert "b=builtin-random" in browser.run("location.hash")


def test_three_encoders_stand_side_by_side_each_less_than_the_first(browser):
    for letter, encoder in zip("abc", ("builtin-ngram", "builtin-random", "twin"), strict=True):
        choose(browser, f"#choose-{letter}", encoder)
    captions = ["builtin:ngram", "builtin:random", "twin", "A minus B", "A minus C"]
    shown = [text[1:] if text[0] in "ABC" and text[1] != " " else text for text in texts(browser, "#detail figcaption")]  # fmt: skip
    assert shown == captions
    gaps = texts(browser, "#detail figure:nth-of-type(5) td")
    assert {float(gap) for gap in gaps} == {0}
    assert len(texts(browser, "#detail .tally thead th")) >= 6
    choose(browser, "#choose-b", "")
    assert texts(browser, "#detail figcaption bdi") == ["builtin:ngram", "twin"]


def test_the_address_keeps_sort_filter_columns_and_languages(browser, page):
    click(browser, "#sort-distance")
    assert re.match("Best .*rank distance", texts(browser, "#order")[0])
    click(browser, "#sort-distance")
    assert re.match("Worst .*rank distance", texts(browser, "#order")[0])
    click(browser, "#column-dimension")
    for name, typed in (("filter", "builtin"), ("langs", "de, english")):
        browser.run(f"document.querySelector('#{name}').focus()")
        browser.type(typed)
    order, address = names(browser), browser.run("location.hash")
    assert texts(browser, "#detail .matrix tbody th") == ["de", "en"]
    browser.open("about:blank")
    browser.open(page.as_uri() + address)
    assert names(browser) == order
    assert texts(browser, "#detail .matrix tbody th") == ["de", "en"]
    assert browser.run("document.querySelector('#sort-dimension')") is None
    assert browser.run("document.querySelector('#filter').value") == "builtin"


def test_axes_languages_and_runs_are_named_and_pages_linked(browser):
    assert texts(browser, ".matrix caption")[0] == "passages →"
    assert "German (de)" in " ".join(texts(browser, "#ranking .note"))
    browser.hover(".matrix tbody tr:nth-child(2) td:nth-child(3)")
    assert "German, German" in browser.run("document.querySelector('#tip strong').textContent")
    about = texts(browser, ".about th")
    assert {"query prompt", "passage prompt", "made on"} <= set(about)
    link = "document.querySelector('[data-encoder=twin] .name a').getAttribute('href')"
    assert browser.run(link) == "mini/twin.md"


def test_a_saved_table_is_safe_in_a_spreadsheet_and_a_saved_picture_is_whole(browser):
    browser.run(
        "(() => { window.kept = []; URL.createObjectURL = (blob) => { kept.push(blob); return 'about:blank#kept'; };"
        " HTMLAnchorElement.prototype.click = () => {}; })()"
    )
    choose(browser, "#choose-a", "hostile")
    for place in ("#ranking .saves button", *(f"#detail .saves button:nth-of-type({n})" for n in (1, 2))):  # fmt: skip
        click(browser, place)
    ranking, matrix, picture = browser.run("Promise.all(kept.map((blob) => blob.text()))")
    assert HOSTILE in ranking
    assert len(matrix.splitlines()) == 12
    assert matrix.splitlines()[1].startswith("ar,0.")
    assert HOSTILE not in picture
    assert browser.run(
        "(async () => { const image = new Image(); image.src = 'data:image/svg+xml,' + encodeURIComponent("
        "await kept[2].text()); await image.decode(); return image.width > 300; })()"
    )
    assert browser.run("window.owned") is None


@pytest.mark.parametrize("width", [1400, 1262, 1100, 982, 800, 390])
def test_the_ranking_fits_every_width(browser, page, width):
    browser.open("about:blank")
    browser.open(page.as_uri() + "#task=mini", width=width)
    box = "document.querySelector('#ranking .scroll')"
    assert browser.run(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not browser.run(f"{box}.classList.contains('more')")
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_choosing_for_a_what_b_shows_swaps_them(browser):
    choose(browser, "#choose-b", "builtin-random")
    click(browser, "[data-encoder=builtin-random] .slot-a")
    assert texts(browser, "figcaption bdi") == ["builtin:random", "builtin:ngram"]


def test_hovering_a_number_tells_its_interval_and_n(browser):
    browser.hover(".matrix tbody tr:nth-child(2) td:nth-child(3)")
    told = browser.run("document.querySelector('#tip').innerText")
    assert "de → de" in told
    assert re.search(r"95 % interval\s+\.\d+ to \.\d+", told)
    assert re.search(r"n \(queries\)\s+72", told)


def test_focus_moves_with_the_arrows_and_tells_the_same(browser):
    browser.run("document.querySelector('.matrix td.tipped').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowDown")
    assert "de → de" in browser.run("document.querySelector('#tip').innerText")
    assert browser.run("document.querySelectorAll('.matrix [tabindex=\"0\"]').length") == 1
    browser.press("Escape")
    assert browser.run("document.querySelector('#tip').hidden")


def test_every_figure_of_the_ranking_and_the_matrix_has_its_interval(browser):
    bare = browser.run(
        "[...document.querySelectorAll('.matrix td:not(.none), .ranking [data-column]')]"
        ".filter((e) => !e.classList.contains('tipped')).length"
    )
    assert bare == 0


def test_a_name_that_holds_a_script_is_shown_as_text(browser):
    assert HOSTILE in names(browser)
    choose(browser, "#choose-b", "hostile")
    assert HOSTILE in texts(browser, "figcaption bdi")
    assert browser.run("window.owned") is None
    assert browser.run("document.querySelectorAll('img, main script').length") == 0


def test_another_task_and_another_measure_are_shown(browser):
    click(browser, "#task-xquad-r")
    assert texts(browser, "#ranking-title") == ["XQuAD-R"]
    assert "reported" in " ".join(texts(browser, "#reported .badge"))
    choose(browser, "#measure", "recall@10")
    (title,) = texts(browser, "#detail-title")
    assert title.endswith(": recall@10")


def test_the_address_brings_the_same_view_back(browser, page):
    browser.open("about:blank")
    browser.open(page.as_uri() + "#task=mini&measure=mrr&a=twin&b=builtin-random")
    assert texts(browser, "figcaption bdi") == ["twin", "builtin:random"]
    browser.open("about:blank")
    browser.open(page.as_uri() + "#task=none&measure=none&a=<b>&b=<i>")
    assert texts(browser, "#ranking-title") == ["mini"]


def test_the_heat_maps_of_alignment_have_the_figures_of_the_result(at_aligned):
    part = aligned_result().record.alignment
    (title,) = texts(at_aligned, "#alignment-title")
    assert re.search(r"\balignment\b.*\blanguages\b", title, re.I)
    for kind, pairs in (("questions", part.questions), ("answers", part.answers)):
        choose(at_aligned, "#alignment-texts", kind)
        for cut in ("recall@1", "recall@5", "recall@10"):
            choose(at_aligned, "#alignment-found", cut)
            read = shown_pairs(at_aligned, cut)
            assert read == pytest.approx({p: v.recall[cut] for p, v in pairs.items()}, abs=5.1e-4)
        read = shown_pairs(at_aligned, "margin")
        assert read == pytest.approx({p: v.margin for p, v in pairs.items()}, abs=5.1e-4)
    assert "recall%4010" in at_aligned.run("location.hash")


def test_the_pair_is_told_with_its_cosines(at_aligned):
    pair = aligned_result().record.alignment.questions["de-en"]
    at_aligned.hover("#alignment tbody tr:nth-child(2) td:nth-child(5)")
    told = at_aligned.run("document.querySelector('#tip').innerText")
    assert "de → en" in told
    for name, value in (("cosine of translations", pair.translations), ("of other pairs", pair.others)):  # fmt: skip
        assert float(re.search(rf"{name}\s+(\S+)", told)[1]) == pytest.approx(value, abs=1e-4)
    assert re.search(r"n\s+72", told)


def test_the_figures_of_all_languages_stand_beside_the_maps(at_aligned):
    part = aligned_result().record.alignment
    langs = texts(at_aligned, "[data-table=cosines] tbody th")
    cells = [float(text) for text in texts(at_aligned, "[data-table=cosines] td")]
    assert langs == sorted(part.anisotropy["query"])
    assert cells == pytest.approx(
        [part.anisotropy[role][lang] for lang in langs for role in ("query", "passage")], abs=1e-4
    )
    whole = texts(at_aligned, "[data-table=whole] td")
    shares = [100 * part.language_variance[role] for role in ("query", "passage")]
    assert [float(t.split()[0]) for t in whole[:2]] == pytest.approx(shares, abs=0.06)
    assert [float(t.split()[0]) for t in whole[2:5]] == pytest.approx(
        list(part.map_without_centroids.values()), abs=1e-4
    )
    assert float(whole[5]) == pytest.approx(part.hubness, abs=0.01)


def test_an_encoder_without_alignment_shows_none(at_aligned):
    choose(at_aligned, "#choose-b", "builtin-random")
    assert texts(at_aligned, "#alignment figcaption bdi") == ["builtin:ngram"] * 2
    choose(at_aligned, "#choose-b", "")
    choose(at_aligned, "#choose-a", "builtin-random")
    assert at_aligned.run("document.querySelector('#alignment').hidden")
    assert texts(at_aligned, "#alignment *") == []


def test_a_language_whose_name_holds_a_script_is_shown_as_text(at_aligned):
    choose(at_aligned, "#choose-b", "hostile")
    assert HOSTILE in texts(at_aligned, "#alignment tbody th")
    assert len(texts(at_aligned, "#alignment .matrix")) == 4
    assert at_aligned.run("window.owned") is None
    assert at_aligned.run("document.querySelectorAll('img, main script').length") == 0
    at_aligned.look(390, 844)
    assert at_aligned.run("document.documentElement.scrollWidth") <= 390


def test_without_translations_questions_and_their_passages_are_shown(chromium, tmp_path):
    results = copy_results(tmp_path / "results")
    change(
        results / "builtin-ngram" / "mini",
        alignment={
            "anisotropy": {"query": {"de": 0.1, "en": 0.2}, "passage": {"de": 0.1, "en": 0.2}},
            "relevance": {
                f"{q}-{p}": {"relevant": 0.5, "others": 0.3 if q == p else 0.6}
                for q in ("de", "en")
                for p in ("de", "en")
            },
        },
    )
    (tmp_path / "index.html").write_text(
        leaderboard_texts(read_board([results]), html=True)["index.html"]
    )
    chromium.complaints.clear()
    chromium.open((tmp_path / "index.html").as_uri() + "#a=builtin-ngram")
    assert texts(chromium, "#alignment td.less") == ["-.100", "-.100"]
    assert texts(chromium, "#alignment .matrix td") == [".200", "-.100", "-.100", ".200"]
    assert texts(chromium, "#alignment select") == []
    assert chromium.complaints == []


def test_many_languages_with_long_codes_have_room_and_scroll(chromium, tmp_path):
    long_codes().save(tmp_path / "results" / "builtin-ngram" / "belebele")
    file = tmp_path / "index.html"
    texts = leaderboard_texts(read_board([tmp_path / "results"]), html=True)
    file.write_text(texts["index.html"], encoding="utf-8")
    chromium.open(file.as_uri())
    heads = chromium.run(
        "[...document.querySelectorAll('.matrix th')].map((th) => {"
        " const text = document.createRange(); text.selectNodeContents(th);"
        " return [th.textContent, text.getClientRects().length,"
        " th.getBoundingClientRect().width - text.getBoundingClientRect().width]; })"
    )
    assert "zho_Hans" in [code for code, _, _ in heads]
    assert not [head for head in heads if head[1] > 1 or head[2] < 0]
    assert chromium.run("document.documentElement.scrollWidth") <= 1280
    assert chromium.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_in_cells_of_alignment_are_read_on_any_colour(at_aligned, aligned, dark):
    at_aligned.open("about:blank")
    at_aligned.open(aligned.as_uri() + "#task=mini&a=builtin-ngram&found=recall@10", dark=dark)
    assert min(at_aligned.run(CONTRASTS)) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_in_cells_are_read_on_any_colour(browser, page, dark):
    browser.open("about:blank")
    browser.open(page.as_uri() + "#task=mini&a=builtin-ngram&b=builtin-random", dark=dark)
    assert min(browser.run(CONTRASTS)) >= 4.5


def test_a_phone_never_scrolls_sideways(browser, page):
    browser.open("about:blank")
    browser.open(page.as_uri() + "#b=hostile", width=390, height=844)
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_questions_of_a_language_stand_with_their_texts_the_worst_first(at_asked):
    assert at_asked.run("document.getElementById('asked').value") == "en"
    assert len(texts(at_asked, "#questions .text")) == 25
    values = [
        float(text.split("rank")[0])
        for text in texts(at_asked, "#questions tbody:nth-of-type(1) td:first-child")
    ]
    assert len(values) == 20
    assert values == sorted(values)
    (first, *_) = texts(at_asked, "#questions .text p")
    assert first.endswith("?")
    choose(at_asked, "#choose-b", "builtin-random")
    assert texts(at_asked, "#questions thead th") == ["A", "B", "question and answer"]
    choose(at_asked, "#asked", "ar")
    assert "asked=ar" in at_asked.run("location.hash")
    assert re.search("[\u0600-\u06ff]", texts(at_asked, "#questions .text p")[0])


def test_a_question_that_holds_a_script_is_shown_as_text(at_asked):
    choose(at_asked, "#asked", "de")
    assert texts(at_asked, "#questions .text p")[0] == HOSTILE
    assert at_asked.run("window.owned") is None


@pytest.mark.parametrize("width", [390, 1100, 1400])
def test_questions_fit_every_width(at_asked, asked, width):
    at_asked.open(asked.as_uri() + "#b=builtin-random", width=width)
    box = "document.querySelector('#questions .scroll')"
    assert at_asked.run(f"{box}.scrollWidth <= {box}.clientWidth")
    assert at_asked.run("document.documentElement.scrollWidth <= innerWidth")


def test_without_questions_the_section_is_not_there(browser):
    assert browser.run("document.getElementById('questions').hidden")
