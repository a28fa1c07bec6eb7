"""`xlir-bench cache`: cached vectors, and the texts of corpora too large for memory."""

from __future__ import annotations

import time

import click

from xlir_bench.cli.command import JSON, CommandGroup, command
from xlir_bench.cli.terminal import say, say_report
from xlir_bench.errors import InputError, UnknownNameError, plural
from xlir_bench.escaping import visible
from xlir_bench.options.stating import amount, number_of_bytes, option
from xlir_bench.places import cache_root, corpora
from xlir_bench.rendering.document import Lines, Table

REMOVED = "What is removed"
AGES = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@command(cls=CommandGroup, invoke_without_command=True)
def cache(*, as_json: bool = JSON) -> None:
    """Show the cached vectors of each encoder.

    \b
    Examples:
      xlir-bench cache
      xlir-bench cache prune --max-size 5G
      xlir-bench cache prune --older-than 30d
      xlir-bench cache prune --encoder builtin:random
      xlir-bench cache prune --corpora
      xlir-bench cache prune --all --dry-run
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    from xlir_bench.rendering.numbers import size
    from xlir_bench.retrieval import cache_entries
    from xlir_bench.sources import corpora_bytes

    entries = cache_entries(cache_root())
    record = [
        {"encoder": e.encoder, "folder": str(e.folder), "blocks": e.blocks, "bytes": e.bytes}
        for e in entries
    ]
    listed = [(e.encoder, e.blocks, size(e.bytes), _age(e.used), e.folder.name) for e in entries]
    headers = ["encoder", "blocks", "size", "last written", "folder"]
    totals = [f"{size(sum(e.bytes for e in entries))} in {cache_root() / 'vectors'}"]
    if kept := corpora_bytes(corpora()):
        totals.append(f"{size(kept)} in {corpora()}: texts of large corpora")
    say_report(as_json, record, [Table(headers, listed, words=("folder",)), Lines(*totals)])


@command(inside=cache)
def prune(
    *,
    max_size: int | None = option(
        "Keep at most this much (500M, 5G); encoders with the oldest vectors go first.",
        None, group=REMOVED, metavar="SIZE", parse=number_of_bytes,
    ),
    older_than: int | None = option(
        "Remove vectors of encoders that had no new vector for this long (12h, 30d, 8w).",
        None, group=REMOVED, metavar="AGE", parse=amount("12h or 30d", **AGES),
    ),
    encoders: tuple[str, ...] = option(
        "Remove this encoder's vectors; may be given again.",
        (), group=REMOVED, flag="encoder", metavar="NAME", many=True,
    ),
    texts: bool = option(
        "Remove the texts of large corpora, not their downloads.", False, group=REMOVED, flag="corpora"
    ),
    everything: bool = option(
        "Remove all vectors, and the texts of large corpora.", False, group=REMOVED, flag="all"
    ),
    dry_run: bool = option("Say what would be removed, and remove nothing.", False),
) -> None:  # fmt: skip
    """Remove cached vectors and texts; a later run makes what it needs again."""
    from xlir_bench.rendering.numbers import size
    from xlir_bench.retrieval import cache_entries
    from xlir_bench.retrieval import prune as prune_cache
    from xlir_bench.sources import corpora_bytes, remove_corpora

    done = "would be removed" if dry_run else "removed"
    if texts or everything:
        texts_bytes = (corpora_bytes if dry_run else remove_corpora)(corpora())
        say(f"{done}: the texts of large corpora, {size(texts_bytes)}")
    known = {entry.encoder for entry in cache_entries(cache_root())}
    encoders = tuple(known) if everything else encoders
    if max_size is None and older_than is None and not encoders:
        if texts or everything:
            return
        raise InputError(
            "say what to remove: --max-size, --older-than, --encoder, --corpora or --all"
        )
    if unknown := [name for name in encoders if name not in known]:
        raise UnknownNameError("encoder in the cache", unknown, known)
    pruned = prune_cache(cache_root(), max_size, older_than, encoders, dry_run)
    for entry in pruned.removed if dry_run else ():
        say(f"  {visible(entry.encoder)}  {size(entry.bytes)}, {_age(entry.used)}")
    freed = size(sum(entry.bytes for entry in pruned.removed))
    say(f"{done}: the vectors of {plural(len(pruned.removed), 'encoder')}, {freed}")
    for entry in pruned.in_use:
        say(f"{visible(entry.encoder)} is being read by a run: its vectors stay", err=True)


def _age(used: float) -> str:
    hours = (time.time() - used) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"
