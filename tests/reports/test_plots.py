"""Pictures: each kind is drawn, in the same bytes each time, whatever names say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from stored import aligned_result, long_codes, mini_results

from xlir_bench.errors import InputError, NotComparableError, UnknownNameError
from xlir_bench.options.drawing import DrawOptions
from xlir_bench.reports.plots import PICTURES, draw, save
from xlir_bench.results import Result, ResultRecord

pytest.importorskip("matplotlib")


def record(source: str = "builtin-ngram", **encoder: object) -> ResultRecord:
    text = (mini_results() / source / "mini" / "result.json").read_text()
    stated = json.loads(text)
    stated["encoder"].update(encoder)
    return ResultRecord.model_validate(stated)


def words(figure) -> list[str]:
    """Everything that is written in a picture."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def drawable(kind: str) -> list[ResultRecord]:
    if kind == "cost":
        return [profiled()]
    if kind == "difference":
        return [record(), record("builtin-random")]
    return [aligned_result().record if kind == "alignment" else record()]


def profiled() -> ResultRecord:
    """The result of this repository with the costs of four variants."""
    root = Path(__file__).parents[2] / "leaderboards/results"
    return Result.load(next(root.glob("all-MiniLM-L6-v2-*/mini"))).record


def part_of(source: ResultRecord, *langs: str) -> ResultRecord:
    """As if only these languages had been run."""
    options = source.options.model_copy(update={"langs": list(langs)})
    settings = [s for s in source.settings if {s.query_lang, *s.passage_langs} <= {*langs}]
    return source.model_copy(update={"options": options, "settings": settings})


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((kind, "svg") for kind in PICTURES), ("bias", "png")]
)
def test_the_same_results_give_the_same_picture(kind, suffix, tmp_path):
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for file in files:
        save(draw(kind, drawable(kind)), file, dpi=60)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 2000
    assert [p.name for p in sorted(tmp_path.iterdir())] == [f"0.{suffix}", f"1.{suffix}"]


def test_the_matrix_has_every_setting_as_a_number():
    figure = draw("matrix", [record()])
    numbers = [w for w in words(figure) if re.fullmatch(r"\.\d{3}", w)]
    assert len(numbers) == 11 * 12


@pytest.mark.parametrize("measure", [None, "margin", "recall@5"])
def test_alignment_has_every_pair_of_questions_and_of_answers_as_a_number(measure):
    result = aligned_result().record
    figure = draw("alignment", [result], measure)
    for axes, pairs in zip(
        figure.axes, (result.alignment.questions, result.alignment.answers), strict=True
    ):
        langs = [tick.get_text() for tick in axes.get_yticklabels()]
        shown = [text.get_text() for text in axes.texts]
        read = dict(zip([f"{a}-{b}" for a in langs for b in langs], shown, strict=True))
        numbers = {pair: float(text) for pair, text in read.items() if text != "-"}
        stated = {
            pair: part.recall[measure] if measure == "recall@5" else part.margin
            for pair, part in pairs.items()
        }
        assert numbers == pytest.approx(stated, abs=5.1e-4)


@pytest.mark.parametrize("kind", ["matrix", "alignment"])
def test_long_codes_of_languages_do_not_run_into_each_other(kind, tmp_path):
    figure = draw(kind, [long_codes().record])
    save(figure, tmp_path / "picture.png", dpi=int(figure.dpi))  # what is measured below
    for axes in figure.axes:
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [tick.get_window_extent() for tick in ticks]
            assert len(boxes) >= 24
            assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert "zho_Hans" in words(figure)


def test_alignment_that_was_not_measured_cannot_be_drawn():
    with pytest.raises(InputError, match="--alignment"):
        draw("alignment", [record()])
    with pytest.raises(UnknownNameError, match="margin"):
        draw("alignment", [aligned_result().record], "map")


def test_the_language_bars_end_with_the_share_of_the_pool():
    written = words(draw("languages", [record(), record("builtin-random")]))
    assert written.count("pool") == 2 or "pool" in written
    assert {"builtin:ngram", "builtin:random"} <= set(written)


def test_the_trade_off_names_every_encoder_and_chance():
    written = words(draw("trade-off", [record(), record("builtin-random")]))
    assert {"builtin:ngram", "builtin:random", "chance"} <= set(written)


def test_checkpoints_are_in_the_order_of_their_numbers():
    records = [record(name=f"out/checkpoint-{n}") for n in (1000, 200, 600)]
    axes = draw("checkpoints", records).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["200", "600", "1,000"]
    assert len(axes.lines) == 3


def test_results_without_numbers_stay_in_the_order_given():
    axes = draw("checkpoints", [record("builtin-random"), record()]).axes[0]
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["builtin:random", "builtin:ngram"]


@pytest.mark.parametrize("name", ["模型-ไทย-عربي", "$\\frac{1}{0}$ a_b^c", "line\nbreak"])
def test_a_name_in_any_script_or_with_formula_signs_is_drawn(name, tmp_path):
    save(draw("trade-off", [record(name=name)]), tmp_path / "x.png", dpi=50)
    assert (tmp_path / "x.png").exists()


def test_the_user_s_own_look_is_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw("matrix", [record()])
    assert dict(mpl.rcParams) == before


def test_faults_are_told():
    with pytest.raises(UnknownNameError, match="matrix"):
        draw("matrx", [record()])
    with pytest.raises(InputError, match="one result"):
        draw("matrix", [record(), record()])
    with pytest.raises(UnknownNameError, match="recall@10"):
        draw("matrix", [record()], "recal@10")
    other = record().model_copy(update={"task": record().task.model_copy(update={"name": "other"})})
    with pytest.raises(NotComparableError, match="other"):
        draw("trade-off", [record(), other])
    with pytest.raises(InputError, match=r"\.png"):
        save(draw("matrix", [record()]), Path("picture.gif"))


def test_matplotlib_is_not_imported_before_a_picture_is_drawn():
    code = (
        "import sys, xlir_bench.reports.plots, xlir_bench.cli.publishing, xlir_bench.reports.leaderboard.pages;"
        "print([m for m in ('matplotlib', 'torch', 'faiss', 'pandas') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_result_from_disk_is_what_is_drawn():
    assert draw("matrix", [Result.load(mini_results() / "builtin-ngram" / "mini").record])


def test_bias_has_a_mark_a_result_in_both_panels_at_the_stored_figures():
    before, after = record(), record("builtin-random")
    figure = draw("bias", [before, after])
    own, pooled = figure.axes
    rows = [label.get_text() for label in own.get_yticklabels()]
    assert rows == [*sorted({s.query_lang for s in before.settings}), "mean"]
    for marks, result in zip(own.collections, (before, after), strict=True):
        part = result.bias["same_language_preference"]
        shown = [x for x, _ in marks.get_offsets()]
        assert shown == pytest.approx([*(part.by_query_lang[x] for x in rows[:-1]), part.mean])
    for marks, result in zip(pooled.collections, (before, after), strict=True):
        assert marks.get_offsets()[-1][0] == pytest.approx(
            result.summary["multilingual"]["map"].mean
        )
    assert {"builtin:ngram", "builtin:random"} <= {*words(figure)}


def test_bias_of_more_results_than_colours_or_of_one_language_is_refused():
    with pytest.raises(InputError, match=r"\b6 results\b.*\b7\b"):
        draw("bias", [record()] * 7)
    alone = record().model_copy(update={"bias": {}})
    with pytest.raises(InputError, match="no multilingual setting"):
        draw("bias", [alone])


@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_that_is_written_is_cut_off_or_runs_into_the_title(kind):
    """At two languages, of a long name, in large text."""
    name = {"name": "a model of a long name"}
    records = [
        r.model_copy(update={"encoder": r.encoder.model_copy(update=name)})
        for r in (part_of(r, "de", "en") for r in drawable(kind))
    ]
    for options in (DrawOptions(), DrawOptions(font_size=13)):
        figure = draw(kind, records, options=options)
        figure.draw_without_rendering()
        page = figure.bbox.padded(1)
        heads = [text.get_window_extent() for text in figure.texts]
        bodies = [axes.get_tightbbox() for axes in figure.axes]
        for box in (*heads, *bodies):
            assert all(map(page.containsx, (box.x0, box.x1)))
            assert all(map(page.containsy, (box.y0, box.y1)))
        for body in bodies:
            assert not any(body.overlaps(head) for head in heads)


def test_what_is_asked_of_a_picture_is_what_is_drawn(tmp_path):
    options = DrawOptions(title="Ours", size=(3.5, 3.0), font_size=6)
    figure = draw("matrix", [record()], options=options)
    assert "Ours" in words(figure)
    assert tuple(figure.get_size_inches()) == (3.5, 3.0)
    assert figure.axes[0].get_xticklabels()[0].get_fontsize() == pytest.approx(6)
    assert draw("matrix", [record()]).axes[0].get_xticklabels()[0].get_fontsize() == 9.5


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind != "cost"])
def test_a_part_is_marked_on_every_picture(kind):
    parts = [part_of(each, "de", "en") for each in drawable(kind)]
    assert any(re.fullmatch("A part: .*de en", word) for word in words(draw(kind, parts)))
    assert not any(word.startswith("A part") for word in words(draw(kind, drawable(kind))))


def test_the_difference_is_the_first_less_the_second():
    first, second = record(), record("builtin-random")
    axes = draw("difference", [first, second]).axes[0]
    langs = [tick.get_text() for tick in axes.get_yticklabels()]
    columns = [tick.get_text() for tick in axes.get_xticklabels()]
    shown = iter(float(text.get_text()) for text in axes.texts)
    read = {(query, column): next(shown) for query in langs for column in columns}
    pairs = zip(first.settings, second.settings, strict=True)
    stated = {
        (a.query_lang, a.passage_langs[0] if len(a.passage_langs) == 1 else "all"): a.measures[
            "map"
        ]
        - b.measures["map"]
        for a, b in pairs
    }
    assert read == pytest.approx(stated, abs=5.1e-4)


def test_text_of_an_svg_stays_text_and_a_language_has_one_colour(tmp_path):
    from xlir_bench.rendering.canvas import language_colour

    save(draw("languages", [record()]), tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert ">builtin:ngram</text>" in text
    assert language_colour("de") in text
    few = part_of(record(), "de", "en")
    save(draw("languages", [few]), tmp_path / "few.svg")
    assert language_colour("de") in (tmp_path / "few.svg").read_text()


def test_labels_have_as_many_digits_as_their_steps():
    from xlir_bench.rendering.canvas import new_figure, plain_ticks

    _, (axes,) = new_figure(3, 3)
    axes.set_ylim(0.1, 0.15)
    plain_ticks(axes.yaxis)
    for tick in (t for t in axes.yaxis.get_major_ticks() if 0.1 <= t.get_loc() <= 0.15):
        assert float(tick.label1.get_text()) == pytest.approx(tick.get_loc(), abs=1e-9)
