"""The task of a data set in mteb's layout, ``mteb:REPO[@revision]`` or ``mteb:FOLDER``: found from the names of its files.

    <subset>-corpus/<split>-00000-of-00001.parquet     <subset>-queries/…     <subset>-qrels/…

A subset is a language, or a pair of languages, that of the corpus first. Other layouts of the hub are read too: without
subsets, with a folder for each subset, judgements in ``data`` or ``default``, JSON Lines, ``qrels/<split>.tsv``.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.files import file_digest, safe_name
from xlir_bench.places import data_cache
from xlir_bench.records import Kind
from xlir_bench.sources.locating import LISTING, kept_listing, list_on_hub
from xlir_bench.sources.own import is_code, task_of_ones_own
from xlir_bench.tasks import MOST_FILES, Source, Task, TaskFile

FILE = re.compile(
    r"(?:(?P<subset>.+?)[-/])?(?P<part>corpus|queries|query|qrels|default|data)(?:[-/](?P<rest>.+?))?"
    r"\.(?P<kind>parquet|jsonl|jsonl\.gz|tsv)"
)
KINDS = ("parquet", "jsonl", "jsonl.gz", "tsv")
PARTS = {"query": "queries", "default": "qrels", "data": "qrels"}
"""Other names of the three parts."""
NO_SUBSETS = (*PARTS, "corpus", "queries", "qrels")
"""A folder of one of these names holds the files of a part, and is no subset."""
SPLITS = ("test", "dev", "devtest", "validation", "train")
"""The split whose judgements are used is the first of these that has any."""
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
COMMIT = re.compile("[0-9a-f]{40}")


class Subset(NamedTuple):
    """One subset of a data set."""

    name: str
    queries_lang: str
    corpus_lang: str
    files: dict[str, list[TaskFile]]
    """By part: ``corpus``, ``queries`` and ``qrels``."""


class _Entry(NamedTuple):
    """What the name of a file says about the file."""

    part: str
    split: str
    kind: str
    file: TaskFile


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder, in order, found one after another: there may be a whole disk of them."""
    for name, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(name) / file for file in sorted(files))


def mteb_task(place: Path, langs: Sequence[str] | None, offline: bool) -> Task:
    """The task of a folder, or of a data set of the hub, whose list of files is kept in the cache of downloads."""
    spec, stated = place.as_posix(), dict[str, Any]()
    if place.is_dir():
        files = [
            TaskFile(path=path.relative_to(place).as_posix())
            for path in islice(_files(place), MOST_FILES)
        ]
        name, home = place.resolve().name, ""
        stated |= {"folder": place}
    else:
        match = HUB_ID.fullmatch(spec)
        if match is None:
            raise InputError(
                f"mteb:{spec}: neither a folder nor a data set of the hub (owner/name, or owner/name@revision)"
            )
        name, home = match[1], safe_name(spec.replace("/", "--"), also="@")
        commit, files = _on_hub(match[1], match[2], home, offline)
        source = Source(hub=match[1], revision=commit)
        stated |= {"source": source, "homepage": f"https://huggingface.co/datasets/{match[1]}"}
    subsets = _subsets(spec, files, home, langs)
    query_langs = {s.queries_lang for s in subsets}
    corpus_langs = {s.corpus_lang for s in subsets}
    pairs = {(s.queries_lang, s.corpus_lang) for s in subsets}
    translated = _translated(subsets, None if home else place)
    kinds = {
        Kind.MONOLINGUAL if query_lang == corpus_lang else Kind.CROSS_LINGUAL
        for query_lang, corpus_lang in pairs
    }
    several = len(corpus_langs) > 1 and len(pairs) > len(query_langs)
    if translated or several:
        kinds |= {Kind.MULTILINGUAL, *([Kind.CROSS_LINGUAL] if translated else [])}
    whole = translated or len(pairs) == len(query_langs) * len(corpus_langs)
    return task_of_ones_own(
        name,
        title=spec if home else name,
        format="mteb",
        description=f"Retrieval data in mteb's layout: {len(subsets)} subsets.",
        kinds=[kind for kind in Kind if kind in kinds],
        measures=["ndcg@10", "ndcg@20", "mrr", "recall@10", "recall@20", "recall@100"],
        files=_named(subsets),
        languages=sorted(query_langs),
        passage_languages=None if corpus_langs == query_langs else sorted(corpus_langs),
        pairs=None if whole else sorted(pairs),
        translated=translated,
        **stated,
    )


def _on_hub(
    repo: str, revision: str | None, home: str, offline: bool
) -> tuple[str, list[TaskFile]]:
    """The commit and files of a data set, as an earlier run listed them, else as the hub lists them now."""
    kept = data_cache() / home / LISTING
    files = kept_listing(kept)
    commits = {m[0] for file in files if (m := COMMIT.search(file.url or ""))}
    if len(commits) == 1:
        return commits.pop(), files
    if offline:
        raise OutOfReachError(
            f"mteb:{repo}: its files were never listed on this machine, and offline the hub is not asked; run"
            f" `xlir-bench data fetch mteb:{repo}` first, or give a folder"
        )
    commit = revision if revision and COMMIT.fullmatch(revision) else _commit(repo, revision)
    return commit, list_on_hub(Source(hub=repo, revision=commit), home, kept)


def _commit(repo: str, revision: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().dataset_info(repo, revision=revision).sha)
    except Exception as error:  # also errors of the HTTP library that the hub's library uses
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if not isinstance(error, HfHubHTTPError):
            raise OutOfReachError(
                f"mteb:{repo}: the hub cannot be reached ({reason}); try again, or give a folder"
            ) from error
        raise OutOfReachError(
            f"the hub has no data set {repo}{f' at {revision}' if revision else ''} for us ({reason}); check the"
            " name, log in with `hf auth login` if it is gated, or give a folder: mteb:FOLDER"
        ) from error


def _subsets(
    spec: str, files: Iterable[TaskFile], home: str, langs: Sequence[str] | None
) -> list[Subset]:
    """The subsets that have all three parts, each with its files of one split."""
    by_subset: dict[str, list[_Entry]] = defaultdict(list)
    for file in files:
        path = file.path.removeprefix(f"{home}/")
        if "instruction" in path:
            raise InputError(f"mteb:{spec} has instructions, which are not read")
        if match := FILE.fullmatch(path):
            part = PARTS.get(match["part"], match["part"])
            split = re.split(r"[-./]?\d{4,}", match["rest"] or "")[0].rpartition("/")[2]
            subset = match["subset"] or ""
            subset = "" if subset in NO_SUBSETS else subset
            by_subset[subset].append(_Entry(part, split, match["kind"], file))
    subsets = []
    for subset, entries in sorted(by_subset.items()):
        splits = {entry.split for entry in entries if entry.part == "qrels"}
        split = next((name for name in (*SPLITS, *sorted(splits)) if name in splits), "")
        chosen = {
            part: _of_split([entry for entry in entries if entry.part == part], split)
            for part in ("corpus", "queries", "qrels")
        }
        if all(chosen.values()):
            corpus_lang, queries_lang = _languages(subset, langs)
            subsets.append(Subset(subset, queries_lang, corpus_lang, chosen))
    if not subsets:
        raise InputError(
            f"mteb:{spec} has no subset with corpus, queries and qrels of one split, as parquet or JSON"
            " Lines (say <lang>-corpus/test-00000-of-00001.parquet)"
        )
    return subsets


def _of_split(entries: Sequence[_Entry], split: str) -> list[TaskFile]:
    """The files of a split, or of the only split there is; in several formats, those of the first in `KINDS`."""
    alone = len({entry.split for entry in entries}) == 1
    entries = [entry for entry in entries if alone or entry.split == split]
    kind = min((entry.kind for entry in entries), key=KINDS.index, default="")
    return [entry.file for entry in entries if entry.kind == kind]


def _languages(subset: str, langs: Sequence[str] | None) -> tuple[str, str]:
    """The languages of a subset's corpus and of its queries."""
    first, dash, second = subset.partition("-")
    if dash and is_code(first) and is_code(second):
        return first, second
    if subset:
        return (subset.replace(".", "_"),) * 2
    return ((langs or ["und"])[0],) * 2


def _translated(subsets: Sequence[Subset], folder: Path | None) -> bool:
    """Whether the queries of all languages are translations: each subset has one language, and all the same judgements.

    Judgements are compared by the digests that the hub states, or by those of the files in the folder.
    """
    if len(subsets) < 2 or any(s.queries_lang != s.corpus_lang for s in subsets):
        return False
    judged = {
        tuple(
            file_digest(folder / x.path, "sha256") if folder else x.sha256 for x in s.files["qrels"]
        )
        for s in subsets
    }
    return len(judged) == 1 and None not in judged.pop()


def _named(subsets: Sequence[Subset]) -> dict[str, TaskFile]:
    """The files, named by language, part and subset; equal files of several subsets are one file."""
    by_digest: dict[str, TaskFile] = {}
    named = {}
    for subset in subsets:
        label = subset.name.replace(".", "_") or "all"
        langs = {"corpus": subset.corpus_lang}
        for part, files in subset.files.items():
            lang = langs.get(part, subset.queries_lang)
            for number, file in enumerate(files):
                file = by_digest.setdefault(file.sha256, file) if file.sha256 else file
                named[f"{lang}.{part}.{label}.{number:04d}"] = file
    return named
