"""`xlir-bench augment`: make training rows from existing rows or from parallel text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlir_bench.cli.command import JSON, OFFLINE, QUIET, CommandGroup, argument, command
from xlir_bench.cli.terminal import Bars, say_blocks, say_json, warn
from xlir_bench.errors import InputError, plural
from xlir_bench.extras import require
from xlir_bench.options.augmenting import (
    LANGUAGES,
    WORDS,
    ParallelOptions,
    Side,
    SwitchOptions,
    TranslateOptions,
)
from xlir_bench.options.stating import OUTPUT, option, same_option
from xlir_bench.options.training import TrainOptions
from xlir_bench.rendering.document import Block, Lines, Table

if TYPE_CHECKING:
    from xlir_bench.augment.switching import Switcher
    from xlir_bench.augment.translating import Report
    from xlir_bench.train.rows import Fault, Row

augment = CommandGroup(
    "augment",
    help="""Make training rows from parallel text, or from existing rows with a lexicon or a translation model.

    ROWS is any training data that train-hybrid takes: JSON Lines (.gz too), parquet, CSV in the long form,
    a folder, a name of the `datasets` library, or mini-train. The output is JSON Lines; the field `origin`
    says how a row was made. If no row is made, the exit code is 1.
    """,
)
ROWS_FILE = option(
    "The JSON Lines file to write; it is gzipped if its name ends in .gz.",
    group=OUTPUT,
    metavar="FILE",
)
SKIP_FAULTS = same_option(TrainOptions, "skip_faults")


def _checked(output: Path, names: Sequence[str]) -> None:
    """Refuse a file that cannot be written; warn where it replaces one."""
    from xlir_bench.train.row_files import check_output

    check_output(output, names)
    if output.exists():
        warn(f"{output} exists and is replaced")


def _report_outcome(
    record: dict[str, Any],
    blocks: Sequence[Block],
    output: Path,
    as_json: bool,
    quiet: bool,
    skipped: Sequence[Fault] | None = None,
) -> int:
    """Report the rows made and the faulty rows left out; the exit code, 1 if no row was made."""
    from xlir_bench.train.row_files import listed_faults

    if as_json:
        say_json(record | {"output": str(output)})
    elif not quiet:
        say_blocks(blocks, err=True)
    if skipped:
        warn(
            f"{plural(len(skipped), 'faulty row')} left out: {listed_faults(skipped, len(skipped))}"
        )
    if not record["rows"]:
        warn(f"no row was made: {output} is not written")
    return 0 if record["rows"] else 1


@command(inside=augment)
def parallel(
    *,
    files: tuple[Path, ...] = argument("FILE..."),
    options: ParallelOptions,
    output: Path = ROWS_FILE,
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> int:
    """Make training rows from parallel text.

    FILE is JSON Lines of {"id", "doc", "text": {lang: text}} (`doc` may be missing) or, if its name
    ends in .tsv, lines of language, language, text, text; both may be .gz. Pairs of a .tsv file that share
    a sentence become one row.

    \b
    With --make, a row pairs
      translations  a text with its translations
      passages      --sizes neighbouring sentences of a doc, joined, with their
                    translations
      next          a sentence with the next sentence of its doc
      context       a sentence with a passage: itself and its neighbours

    \b
    Examples:
      xlir-bench augment parallel ntrex.jsonl --output ntrex-rows.jsonl
      xlir-bench augment parallel ntrex.jsonl --make next \\
        --output ntrex-next.jsonl
      xlir-bench augment parallel tatoeba.tsv.gz --langs de,en,th \\
        --output tatoeba.jsonl.gz
      xlir-bench train-hybrid --train tatoeba.jsonl.gz:cross-lingual \\
        --train ntrex-next.jsonl:monolingual --output out
    """
    from xlir_bench.augment.parallel import parallel_rows, read_parallel_lines
    from xlir_bench.train.row_files import write_rows

    _checked(output, [*map(str, files)])
    count = 0
    with Bars(quiet or as_json) as bars:
        bars.start("make rows", 0, "rows")

        def rows() -> Iterator[Row]:
            nonlocal count
            lacking = set(options.langs or ())
            for file in files:
                lines = read_parallel_lines(file, options.langs)
                lacking -= {lang for line in lines for lang in line.texts}
                for row in parallel_rows(lines, file.name.partition(".")[0], options):
                    count += 1
                    bars.advance(1)
                    yield row
            if lacking:
                raise InputError(f"--langs {','.join(sorted(lacking))}: no line has such a text")

        write_rows(output, rows())
    summary = Lines(f"{count:,} rows written to {output}")
    return _report_outcome({"rows": count}, [summary], output, as_json, quiet)


@command(inside=augment)
def code_switch(
    *,
    names: tuple[str, ...] = argument("ROWS..."),
    lexicon: Path = option(
        "A folder of files such as en-de.tsv; each line is a word, a tab, its translation.", group=WORDS, metavar="DIR"
    ),
    options: SwitchOptions,
    sources: tuple[str, ...] | None = option(
        "Languages whose texts are switched.  [default: all in the lexicon]", None, group=LANGUAGES, flag="from"
    ),
    targets: tuple[str, ...] | None = option(
        "Languages that words are taken from.  [default: all in the lexicon]", None, group=LANGUAGES, flag="to"
    ),
    both_ways: bool = option("Read en-de.tsv as a list from de to en as well.", False, group=LANGUAGES),
    output: Path = ROWS_FILE,
    as_json: bool = JSON,
    quiet: bool = QUIET,
    offline: bool = OFFLINE,
    skip_faults: bool = SKIP_FAULTS,
) -> int:  # fmt: skip
    """Replace words by dictionary translations, each with probability --p (arXiv 2305.05295).

    The output has a copy of each row in which a word was replaced, with the row's id and data set. Train on
    both files: a row and its copy never meet in a batch. A switched text keeps its language code. On a
    switched side the copy has only the languages that the lexicon translates from; the other side is
    unchanged. With a lexicon from English alone, --side both makes rows for monolingual batches, and --side
    question makes rows for cross-lingual batches too.

    Capitals, punctuation and spaces stay. In a script without spaces, words are found from the left, the
    longest word of the lexicon first. If a word has several translations, one is drawn. The draw depends on
    --seed and the text alone: adding or removing rows does not change the others.

    \b
    Examples:
      xlir-bench augment code-switch rows.jsonl --lexicon lexicon \\
        --output switched.jsonl
      xlir-bench augment code-switch rows.jsonl --lexicon lexicon --to de,th \\
        --into one --side question --output switched.jsonl.gz
      xlir-bench train-hybrid --train rows.jsonl --train switched.jsonl \\
        --output out
    """
    from xlir_bench.augment.switching import Switcher, read_lexicon
    from xlir_bench.train.row_files import sound_rows, write_rows

    _checked(output, names)
    skipped: list[Fault] | None = [] if skip_faults else None
    switcher = Switcher(read_lexicon(lexicon, sources, targets, both_ways), options)
    with Bars(quiet or as_json) as bars:
        bars.start("code-switch", 0, "rows")
        copies = (
            copy
            for name in names
            for copy in switcher.switched(sound_rows(name, bars, offline, skipped), name)
        )
        write_rows(output, copies)
    record, blocks = _switched_record(switcher), _switched_blocks(switcher, output)
    return _report_outcome(record, blocks, output, as_json, quiet, skipped)


@command(inside=augment)
def translate(
    *,
    names: tuple[str, ...] = argument("ROWS..."),
    options: TranslateOptions,
    side: Side = same_option(SwitchOptions, "side"),
    output: Path = ROWS_FILE,
    as_json: bool = JSON,
    quiet: bool = QUIET,
    offline: bool = OFFLINE,
    skip_faults: bool = SKIP_FAULTS,
) -> int:
    """Add translations to rows that lack them, with a translation model on this machine.

    Every row is written, and each side gets the languages of --to that it lacks; existing texts stay as
    they are. The output replaces the input: train on the output alone. Give languages by the codes of the
    rows (de, zh, sw), whatever codes the model uses. A Marian model of one language pair does not name its
    languages: give --from if its source is not English.

    After an interruption, the same command continues, and writes the same bytes.

    \b
    Examples:
      xlir-bench augment translate rows.jsonl --model opus-mt-en-de --to de \\
        --output rows-de.jsonl
      xlir-bench augment translate mini-train --model nllb-200-distilled-600M \\
        --to sw,th,yo --side question --device cuda --output more.jsonl.gz
    """
    require("models", "augment translate")
    from xlir_bench.augment.translating import Translating
    from xlir_bench.augment.translator import load_translator

    _checked(output, names)
    skipped: list[Fault] | None = [] if skip_faults else None
    translating = Translating(load_translator(options), names, side, offline, skipped)
    with Bars(quiet or as_json) as bars:
        report = translating.run(output, bars)
    blocks = [_translated(report, output, options.max_length)]
    return _report_outcome(report.as_json(), blocks, output, as_json, quiet, skipped)


def _translated(report: Report, output: Path, longest: int) -> Block:
    counts = ", ".join(f"{lang} {count:,}" for lang, count in sorted(report.texts.items()))
    lines = [f"translations: {counts or 'none, no row lacked one'}"]
    for count, what in (
        (report.shortened, f"texts were longer than {longest} tokens: their end was not read"),
        (report.unfinished, f"translations were longer than {longest} tokens: they were cut"),
        (report.blank, "translations were blank: left out"),
    ):
        if count:
            lines.append(f"{count:,} {what}")
    gained = f"{report.gained:,} with translations added"
    return Lines(*lines, f"{report.rows:,} rows written to {output}, {gained}")


def _switched_record(switcher: Switcher) -> dict[str, Any]:
    """What was replaced, and how many words the lexicon has by pair of languages."""
    words = {
        source: {target: len(entries) for target, entries in sorted(pairs.items())}
        for source, pairs in sorted(switcher.lexicon.entries.items())
    }
    return {
        "rows": switcher.rows,
        "unchanged": switcher.unchanged,
        "coverage": {lang: c.as_json() for lang, c in sorted(switcher.coverage.items())},
        "lexicon": {"unchanged": switcher.lexicon.unchanged, "words": words},
    }


def _switched_blocks(switcher: Switcher, output: Path) -> list[Block]:

    def share(part: int, whole: int) -> str:
        return f"{part / whole:.1%}" if whole else ""

    rows = [
        {
            "": lang,
            "texts": f"{c.texts:,}",
            "words": f"{c.tokens:,}",
            "in the lexicon": share(c.known, c.tokens),
            "replaced": share(c.replaced, c.tokens),
            "of them ambiguous": share(c.ambiguous, c.replaced),
            "into": ", ".join(f"{x} {count:,}" for x, count in sorted(c.into.items())),
        }
        for lang, c in sorted(switcher.coverage.items())
    ]
    lines = []
    if same := switcher.lexicon.unchanged:
        lines.append(f"{same:,} lines of the lexicon translate a word by itself: ignored")
    if switcher.unchanged:
        lines.append(f"{switcher.unchanged:,} rows not copied: none of their words was replaced")
    summary = Lines(*lines, f"{switcher.rows:,} rows written to {output}")
    return [Table.of(rows, words=("into",)), summary] if rows else [summary]
