"""Tasks of a user's own data, ``KIND:PLACE``, made from what lies there; `tasks.OWN` lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlir_bench.errors import InputError
from xlir_bench.records import Kind
from xlir_bench.sources.parallel import is_pairs, read_pairs
from xlir_bench.sources.rows import Faults, json_object, read_lines
from xlir_bench.tasks import Source, Task, TaskFile, file_language

TWO_LETTERS = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee"
    " el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io"
    " is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn"
    " mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se"
    " sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi"
    " vo wa wo xh yi yo za zh zu"
)
"""The codes of ISO 639-1."""


def parallel_task(path: Path, _langs: Sequence[str] | None, _offline: bool) -> Task:
    """Bitext retrieval over a file of parallel text, or a folder of pairs, in the languages that it has."""
    folder = path if path.is_dir() else path.parent
    paths = sorted(p for p in path.iterdir() if is_pairs(p)) if path.is_dir() else [path]
    if not path.exists():
        raise InputError(f"parallel:{path} cannot be read: it is not there")
    faults = Faults(str(path))
    languages = {each: _languages_of(each, faults) for each in paths}
    if len(set().union(*languages.values())) < 2:
        raise InputError(
            f'parallel:{path} wants lines like {{"id": "1", "text": {{"de": "…", "en": "…"}}}}'
            ' in two languages or more, or pairs, "de<TAB>en<TAB>…<TAB>…", in files named .tsv'
            + (f"; {faults}" if faults.count else "")
        )
    return task_of_ones_own(
        path.resolve().name.split(".")[0],
        title=path.resolve().name,
        format="parallel",
        description="Each text finds its translation among the texts of another language.",
        kinds=[Kind.CROSS_LINGUAL],
        measures=["map", "recall@1", "recall@5", "recall@10"],
        files={
            lang if len(paths) == 1 else f"{lang}.{number}": TaskFile(path=each.name)
            for number, each in enumerate(paths)
            for lang in languages[each]
        },
        folder=folder,
    )


def _languages_of(path: Path, faults: Faults) -> set[str]:
    """The languages of parallel text, or of pairs."""
    if is_pairs(path):
        return {lang for _, pair in read_pairs(path, faults) for lang, _ in pair.sentences}
    return {
        lang
        for row in _objects(path, faults)
        if isinstance(texts := row.get("text"), dict)
        for lang, text in texts.items()
        if str(text).strip()
    }


def beir_task(folder: Path, langs: Sequence[str] | None, _offline: bool) -> Task:
    """A folder in BEIR's layout, in the languages that its rows name, else in the one of `langs`."""
    paths = {"": "corpus.jsonl", ".queries": "queries.jsonl", ".qrels": "qrels/test.tsv"}
    _require_files("beir", folder, paths.values())
    faults = Faults()
    first = next(_objects(folder / paths[""], faults), {})
    if "lang" in first and "language" not in first and langs is None:
        raise InputError(
            f"beir:{folder}: its rows name no 'language' but a 'lang': rename it, or name with --langs the one"
            " language of all rows"
        )
    if "language" in first:
        rows = (row for part in ("", ".queries") for row in _objects(folder / paths[part], faults))
        languages = {str(row["language"]) for row in rows if "language" in row}
    else:
        languages = set(langs or ["und"])
        if unknown := sorted(lang for lang in languages if not is_code(lang)):
            raise InputError(f"--langs {','.join(unknown)}: no code of ISO 639, like de or swh")
        if len(languages) > 1:
            raise InputError(
                f"beir:{folder}: its rows name no language, and --langs says {', '.join(sorted(languages))}"
            )
    return task_of_ones_own(
        folder.resolve().name,
        format="beir",
        description="Judged queries over a corpus.",
        kinds=list(Kind) if len(languages) > 1 else [Kind.MONOLINGUAL],
        measures=["ndcg@10", "map", "mrr", "recall@10", "recall@100"],
        files={f"{x}{part}": TaskFile(path=p) for x in languages for part, p in paths.items()},
        folder=folder,
    )


def mlir_task(folder: Path, _langs: Sequence[str] | None, _offline: bool) -> Task:
    """A folder in the layout of MIMO's benchmarks, in the languages that its rows name."""
    paths = {part: f"{part}.jsonl" for part in ("queries", "corpus", "qrels")}
    _require_files("mlir", folder, paths.values())
    faults = Faults(str(folder))
    rows = _objects(folder / paths["queries"], faults)
    query_langs = {str(row["lang"]) for row in rows if "lang" in row}
    passages = (p for row in _objects(folder / paths["corpus"], faults) for p in row.values())
    corpus_langs = {str(p["lang"]) for p in passages if isinstance(p, dict) and "lang" in p}
    if not query_langs or not corpus_langs:
        where, what = ("corpus", "passage") if query_langs else ("queries", "query")
        raise InputError(
            f"mlir:{folder}: no {what} in {where}.jsonl names its 'lang'"
            + (f"; {faults}" if faults.count else "")
        )
    langs_of = {"queries": query_langs, "corpus": corpus_langs, "qrels": query_langs}
    return task_of_ones_own(
        folder.resolve().name,
        format="mlir",
        description="Judged queries of several languages over one pool of passages in several.",
        kinds=list(Kind) if len(corpus_langs) > 1 else [Kind.MONOLINGUAL, Kind.CROSS_LINGUAL],
        measures=["ndcg@20", "ndcg@10", "ndcg@100", "mrr@20", "recall@20", "recall@100"],
        files={
            f"{lang}.{part}": TaskFile(path=paths[part])
            for part, langs in langs_of.items()
            for lang in langs
        },
        folder=folder,
        languages=sorted(query_langs),
        passage_languages=None if corpus_langs == query_langs else sorted(corpus_langs),
    )


def _require_files(kind: str, folder: Path, paths: Iterable[str]) -> None:
    if lacking := [path for path in paths if not (folder / path).is_file()]:
        wanted = ", ".join(lacking)
        raise InputError(f"{kind}:{folder} wants {wanted} in that folder: not there")


def is_code(lang: str) -> bool:
    """Whether this is a code of ISO 639: two known letters or any three; a script or region may follow."""
    code = re.fullmatch("([a-z]{2,3})([-_][A-Za-z0-9]{2,8})*", lang)
    return code is not None and (len(code[1]) == 3 or code[1] in TWO_LETTERS)


OWN = "your own"
"""The value of a task's facts, such as its licence, where nobody has stated them."""


def is_own(task: Task) -> bool:
    """Whether a task was made from a folder or file of the user's own: then nobody has stated such facts."""
    return task.homepage == OWN


def task_of_ones_own(stem: str, files: Mapping[str, TaskFile], **stated: Any) -> Task:
    """A task of a user's own data, named after `stem`; facts that are not stated are "your own"."""
    facts: dict[str, Any] = dict.fromkeys(("domain", "licence", "homepage", "citation"), OWN)
    facts |= {"languages": sorted({file_language(name) for name in files})}
    facts |= {"source": Source(bundled=True), "title": stem}
    return Task(
        name=re.sub(r"[^a-z0-9.-]+", "-", stem.lower()).strip("-.") or "own",
        version=1,
        files=dict(sorted(files.items())),
        **facts | stated,
    )


def _objects(path: Path, faults: Faults) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON Lines; the reader of the task reports its faults later."""
    return (row for _, row in read_lines(path, faults, json_object))
