"""`xlir-bench augment`: more training rows made of those there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import FOLDER, Names, verbose_option
from xlir_bench.cli.progress import Bars
from xlir_bench.cli.terminal import as_text, say, say_json
from xlir_bench.extras import require

if TYPE_CHECKING:
    from xlir_bench.augment.lexicon import Lexicon
    from xlir_bench.augment.switching import Switcher
    from xlir_bench.augment.translating import Report
    from xlir_bench.train.rows import Row


@click.group()
def augment() -> None:
    """Make training rows: of parallel text, or of rows there are by a lexicon or a translation model.

    ROWS is whatever train-hybrid takes: JSON Lines (.gz too), parquet, CSV in the long form, a folder, a
    name of the `datasets` library, or mini-train. What is made is JSON Lines, and says in `origin` how.
    """


_ROWS = click.argument("names", nargs=-1, required=True, metavar="ROWS...")
_OUTPUT = click.option(
    "--output", type=FOLDER, required=True, metavar="FILE",
    help="Where the rows go: .jsonl, packed if it ends in .gz.",
)  # fmt: skip
_SIDE = click.option(
    "--side",
    type=click.Choice(["question", "answer", "both"]),
    default="both",
    show_default=True,
    help="Which texts; hard negatives go with the answers.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else.")
_QUIET = click.option("--quiet", is_flag=True, help="No progress and no tables.")
_OFFLINE = click.option("--offline", is_flag=True, help="Download nothing.")


@augment.command("parallel")
@click.argument("names", nargs=-1, required=True, metavar="FILE...", type=FOLDER)
@_OUTPUT
@click.option(
    "--make",
    type=click.Choice(["translations", "passages", "next", "context"]),
    default="translations",
    show_default=True,
    help="What a row is.",
)
@click.option(
    "--sizes", type=Names(), default="2,3,5", show_default=True, metavar="N,N",
    help="Sentences of a joined passage.",
)  # fmt: skip
@click.option("--langs", type=Names(), help="Only these languages.")
@_JSON
@_QUIET
@verbose_option
def parallel_command(names: tuple[Path, ...], **stated: Any) -> None:
    """Make training rows of parallel text.

    FILE is JSON Lines of {"id", "doc", "text": {lang: text}} (`doc` may be missing) or, named .tsv,
    lines of language, language, text, text; both may be .gz. Pairs that share a sentence become one row.

    \b
    A row is
      translations  a text and its translations
      passages      neighbours of one doc joined, --sizes at a time, and their translations
      next          a sentence and the next one of its doc
      context       a sentence, and it with the sentences before and after it

    \b
    Examples:
      xlir-bench augment parallel ntrex.jsonl --output ntrex-rows.jsonl
      xlir-bench augment parallel ntrex.jsonl --make next --output ntrex-next.jsonl
      xlir-bench augment parallel tatoeba.tsv.gz --langs de,en,th --output tatoeba.jsonl.gz
      xlir-bench train-hybrid --train tatoeba.jsonl.gz:cross-lingual \\
        --train ntrex-next.jsonl:monolingual --output out
    """
    from xlir_bench.augment.output import check_output, write_rows
    from xlir_bench.augment.parallel import ParallelOptions, parallel_rows, read_parallel_lines
    from xlir_bench.errors import InputError
    from xlir_bench.options.training import TrainingSource

    if not all(size.isdecimal() for size in stated["sizes"]):
        raise InputError(f"--sizes {','.join(stated['sizes'])}: numbers from 2")
    options = ParallelOptions(
        stated["make"], tuple(int(size) for size in stated["sizes"]), stated["langs"]
    )
    options.check()
    check_output(stated["output"], [TrainingSource(str(name)) for name in names])
    counts: dict[str, int] = {}
    with Bars(stated["quiet"] or stated["as_json"]) as progress:
        progress.start("make rows", 0, "rows")

        def made() -> Iterator[Row]:
            for name in names:
                dataset = name.name.partition(".")[0]
                for row in parallel_rows(
                    read_parallel_lines(name, options.langs), dataset, options
                ):
                    counts[dataset] = counts.get(dataset, 0) + 1
                    progress.advance(1)
                    yield row

        write_rows(stated["output"], made())
    total = sum(counts.values())
    if stated["as_json"]:
        say_json({"rows": total, "output": str(stated["output"])})
    elif not stated["quiet"]:
        say(f"{total:,} rows written to {stated['output']}", err=True)


@augment.command("code-switch")
@_ROWS
@click.option(
    "--lexicon", type=FOLDER, required=True, metavar="DIR",
    help="A folder of en-de.tsv, …: each line a word, a tab, its translation.",
)  # fmt: skip
@_OUTPUT
@click.option(
    "--p", type=float, default=0.5, show_default=True, metavar="P",
    help="How likely a word that the lexicon has is replaced.",
)  # fmt: skip
@click.option(
    "--into",
    type=click.Choice(["one", "many"]),
    default="many",
    show_default=True,
    help="Words of one language a text, drawn by text, or of many, drawn by word.",
)
@_SIDE
@click.option(
    "--from", "sources", type=Names(), help="Switch texts of these.  [default: all that are listed]"
)
@click.option(
    "--to", "targets", type=Names(), help="Take words of these.  [default: all that are listed]"
)
@click.option("--both-ways", is_flag=True, help="Read en-de.tsv as a list from de to en as well.")
@click.option("--seed", type=int, default=0, show_default=True)
@_JSON
@_QUIET
@_OFFLINE
@verbose_option
def code_switch_command(**stated: Any) -> None:
    """Replace words by dictionary translations, each with probability --p (arXiv 2305.05295).

    For each row in which a word was replaced a copy is written, with the id and the data set of the row:
    train on both files, and the two never meet in a batch. A text stays under its language, with words of
    others in it. On a side that is switched the copy has only the languages that the lexicon has lists
    from; the other side is as it was. With lists from English alone, --side both makes rows for monolingual
    batches, and --side question rows for cross-lingual ones too.

    Capitals, punctuation and spaces stay. A script without spaces is cut by the longest words that the
    lexicon has, from the left. Where there are several translations one is drawn. What is drawn depends on
    --seed and the text alone, so that rows may come and go and the others stay the same.

    \b
    Examples:
      xlir-bench augment code-switch rows.jsonl --lexicon lexicon --output switched.jsonl
      xlir-bench augment code-switch rows.jsonl --lexicon lexicon --to de,th --into one \\
        --side question --output switched.jsonl.gz
      xlir-bench train-hybrid --train rows.jsonl --train switched.jsonl --output out
    """
    from xlir_bench.augment.lexicon import read_lexicon
    from xlir_bench.augment.output import check_output, write_rows
    from xlir_bench.augment.switching import Switcher, SwitchOptions
    from xlir_bench.options.training import TrainingSource
    from xlir_bench.train.reading import sound_rows

    options = SwitchOptions(stated["p"], stated["into"], stated["side"], stated["seed"])
    options.check()
    rows = [TrainingSource(name) for name in stated["names"]]
    check_output(stated["output"], rows)
    lexicon = read_lexicon(
        stated["lexicon"], stated["sources"], stated["targets"], stated["both_ways"]
    )
    switcher = Switcher(lexicon, options)
    quiet = stated["quiet"] or stated["as_json"]
    with Bars(quiet) as progress:
        progress.start("code-switch", 0, "rows")
        write_rows(
            stated["output"],
            (
                copy
                for source in rows
                for copy in switcher.switched(
                    sound_rows(source, progress, stated["offline"]), source.name
                )
            ),
        )
    if stated["as_json"]:
        say_json(_switched_json(switcher, stated))
    elif not quiet:
        say(_switched_text(switcher, stated["output"]), err=True)


@augment.command("translate")
@_ROWS
@click.option(
    "--model", type=FOLDER, required=True, metavar="PATH",
    help="The folder of a Marian, M2M100 or NLLB model (safetensors).",
)  # fmt: skip
@click.option("--to", "targets", type=Names(), required=True, help="Translate into these.")
@click.option(
    "--from", "sources", type=Names(),
    help="Translate from these, the first that a row has.  [default: en, else any the model knows]",
)  # fmt: skip
@_OUTPUT
@_SIDE
@click.option(
    "--batch-tokens", type=int, default=4096, show_default=True, metavar="N",
    help="Tokens of a batch; texts of like length go together.",
)  # fmt: skip
@click.option(
    "--max-length", type=int, default=256, show_default=True, metavar="TOKENS",
    help="Of a text and of its translation; what is longer is cut, and counted.",
)  # fmt: skip
@click.option("--num-beams", type=int, default=4, show_default=True, metavar="N")
@click.option("--device", metavar="cpu|cuda|mps", help="[default: the best there is]")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
)
@_JSON
@_QUIET
@_OFFLINE
@verbose_option
def translate_command(**stated: Any) -> None:
    """Add translations to rows that lack them, by a translation model on this machine.

    Every row is written, with the languages of --to added to each side that lacks them; texts that are
    there stay as they are. What is written takes the place of the rows that were read: train on it alone.
    Languages are the rows' own codes (de, zh, sw), whatever the model calls them. A Marian model of one
    pair does not say which: say --from, if it is not English.

    Killed at any time, the same command goes on where it was, to the same bytes.

    \b
    Examples:
      xlir-bench augment translate rows.jsonl --model opus-mt-en-de --to de --output rows-de.jsonl
      xlir-bench augment translate mini-train --model nllb-200-distilled-600M --to sw,th,yo \
        --side question --device cuda --output more.jsonl.gz
    """
    require("models", "augment translate")
    from xlir_bench.augment.output import check_output
    from xlir_bench.augment.translating import Translating
    from xlir_bench.augment.translator import TranslateOptions, load_translator
    from xlir_bench.options.training import TrainingSource

    rows = [TrainingSource(name) for name in stated["names"]]
    check_output(stated["output"], rows)
    options = TranslateOptions(
        model=stated["model"],
        to=stated["targets"],
        sources=stated["sources"],
        batch_tokens=stated["batch_tokens"],
        max_length=stated["max_length"],
        num_beams=stated["num_beams"],
        device=stated["device"],
        dtype=stated["dtype"],
    )
    translating = Translating(load_translator(options), rows, stated["side"], stated["offline"])
    quiet = stated["quiet"] or stated["as_json"]
    with Bars(quiet) as progress:
        report = translating.run(stated["output"], progress)
    if stated["as_json"]:
        say_json(report.as_json() | {"output": str(stated["output"])})
    elif not quiet:
        say(_translated_text(report, stated["output"], options.max_length), err=True)


def _translated_text(report: Report, output: Path, longest: int) -> str:
    counts = ", ".join(f"{lang} {count:,}" for lang, count in sorted(report.texts.items()))
    lines = [f"translations: {counts or 'none, no row lacked one'}"]
    for count, what in (
        (report.shortened, f"texts were longer than {longest} tokens: their end was not read"),
        (report.unfinished, f"translations were longer than {longest} tokens: they were cut"),
        (report.blank, "translations were blank: left out"),
    ):
        if count:
            lines.append(f"{count:,} {what}")
    lines.append(
        f"{report.rows:,} rows written to {output}, {report.gained:,} with translations added"
    )
    return "\n".join(lines)


def _switched_json(switcher: Switcher, stated: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rows": switcher.rows,
        "unchanged": switcher.unchanged,
        "coverage": {lang: c.as_json() for lang, c in sorted(switcher.coverage.items())},
        "lexicon": {"unchanged": switcher.lexicon.unchanged, "words": _words(switcher.lexicon)},
        "output": str(stated["output"]),
    }


def _words(lexicon: Lexicon) -> dict[str, dict[str, int]]:
    """Entries by pair of languages."""
    return {
        source: {target: len(entries) for target, entries in sorted(pairs.items())}
        for source, pairs in sorted(lexicon.entries.items())
    }


def _switched_text(switcher: Switcher, output: Path) -> str:
    from xlir_bench.reports.document import Table

    rows = [
        [
            lang,
            f"{c.texts:,}",
            f"{c.tokens:,}",
            _share(c.known, c.tokens),
            _share(c.replaced, c.tokens),
            _share(c.ambiguous, c.replaced),
            ", ".join(f"{x} {count:,}" for x, count in sorted(c.into.items())),
        ]
        for lang, c in sorted(switcher.coverage.items())
    ]
    headers = ["", "texts", "words", "in the lexicon", "replaced", "of them ambiguous", "into"]
    shown = as_text(Table(headers, rows, words=("into",)))
    lines = [shown, ""] if rows else []
    if switcher.lexicon.unchanged:
        lines.append(
            f"{switcher.lexicon.unchanged:,} lines of the lexicon translate a word by itself: passed over"
        )
    if switcher.unchanged:
        lines.append(f"{switcher.unchanged:,} rows without a word that was replaced: no copy")
    lines.append(f"{switcher.rows:,} rows written to {output}")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
