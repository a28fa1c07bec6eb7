"""`xlir-bench cache`: the vectors that are kept, and the corpora too large for memory."""

from __future__ import annotations

import re
import time

import click

from xlir_bench.cli.options import verbose_option
from xlir_bench.cli.terminal import say, say_blocks, say_json
from xlir_bench.escaping import visible

SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
AGES = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@verbose_option
@click.pass_context
def cache(ctx: click.Context, as_json: bool) -> None:
    """Show the cache of vectors by encoder.

    \b
    Examples:
      xlir-bench cache
      xlir-bench cache prune --max-size 5G
      xlir-bench cache prune --older-than 30d
      xlir-bench cache prune --encoder builtin:random
      xlir-bench cache prune --corpora
    """
    if ctx.invoked_subcommand is not None:
        return
    from xlir_bench.places import cache_root, corpora
    from xlir_bench.retrieval import cache_entries
    from xlir_bench.sources import corpora_bytes

    entries = cache_entries(cache_root())
    if as_json:
        rows = [
            {"encoder": e.encoder, "folder": str(e.folder), "blocks": e.blocks, "bytes": e.bytes}
            for e in entries
        ]
        say_json(rows, indent=1)
        return
    from xlir_bench.reports.document import Table

    listed = [
        [e.encoder, str(e.blocks), _size(e.bytes), _age(e.used), e.folder.name] for e in entries
    ]
    say_blocks(
        [Table(["encoder", "blocks", "size", "last written", "folder"], listed, words=("folder",))]
    )
    say(f"\n{_size(sum(e.bytes for e in entries))} in {cache_root() / 'vectors'}")
    if kept := corpora_bytes(corpora()):
        say(f"{_size(kept)} in {corpora()}: texts of large corpora")


@cache.command()
@click.option(
    "--max-size",
    metavar="SIZE",
    help="Keep at most so much (500M, 5G): the longest unused go first.",
)
@click.option(
    "--older-than", metavar="AGE", help="Remove what was not written for so long (12h, 30d, 8w)."
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME",
    help="Remove this encoder's vectors; may be given again.",
)
@click.option(
    "--corpora",
    "texts",
    is_flag=True,
    help="Remove the texts of large corpora, not their downloads.",
)
@verbose_option
def prune(
    max_size: str | None, older_than: str | None, encoders: tuple[str, ...], texts: bool
) -> None:
    """Remove vectors; whatever is removed is encoded, or read, again when it is needed."""
    from xlir_bench.errors import InputError, UnknownNameError
    from xlir_bench.places import cache_root, corpora
    from xlir_bench.retrieval import cache_entries
    from xlir_bench.retrieval import prune as prune_cache
    from xlir_bench.sources import remove_corpora

    if texts:
        freed = _size(remove_corpora(corpora()))
        say(f"removed the texts of large corpora, {freed}")
    if max_size is None and older_than is None and not encoders:
        if texts:
            return
        raise InputError(
            "say what to remove: --max-size 5G, --older-than 30d, --encoder NAME or --corpora"
        )
    known = {entry.encoder for entry in cache_entries(cache_root())}
    unknown = [name for name in encoders if name not in known]
    if unknown:
        raise UnknownNameError("encoder in the cache", unknown, known)
    pruned = prune_cache(
        cache_root(),
        max_bytes=None
        if max_size is None
        else quantity(max_size, SIZES, "--max-size", "500M or 5G"),
        older_than=None
        if older_than is None
        else quantity(older_than, AGES, "--older-than", "12h or 30d"),
        encoders=encoders,
    )
    freed = _size(sum(entry.bytes for entry in pruned.removed))
    say(f"removed the vectors of {len(pruned.removed)} encoder(s), {freed}")
    for entry in pruned.in_use:
        say(f"{visible(entry.encoder)} is being read by a run: its vectors stay", err=True)


def quantity(text: str, units: dict[str, int], option: str, example: str) -> int:
    """A number with a unit, as a plain number."""
    from xlir_bench.errors import InputError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]?)b?", text.strip().lower())
    if not found or found[2] not in units:
        raise InputError(f"{option} {text!r} is not understood; write it like {example}")
    return int(float(found[1]) * units[found[2]])


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _age(used: float) -> str:
    hours = (time.time() - used) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"
