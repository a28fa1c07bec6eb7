"""Reads Crossmodal-3600's layout: a caption finds the other captions of its image, in any language.

JSON Lines of ``{"image/key": …, "<lang>": {"caption": […]}, …}``. Every caption is a query and a candidate;
a query's own caption leaves the pool. Captions of an image were written apart: they are no translations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xlir_bench.arrays import equal_pairs
from xlir_bench.records import Collection, Ints, Passages, Queries, Relevance
from xlir_bench.sources.faults import Faults
from xlir_bench.sources.lines import clean_text, json_object, read_lines, text_of
from xlir_bench.sources.reading import Reading
from xlir_bench.tasks import Task, file_language

IMAGE = "image/key"
MOST_CAPTIONS = 100
"""Of an image in a language: each is relevant to every other."""


@dataclass(slots=True)
class _Captions:
    """The captions of one language, image by image."""

    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    """Of each caption."""
    ids: list[str] = field(default_factory=list)


def read_captions(task: Task, files: Mapping[str, Path], reading: Reading) -> Collection:
    """The collection in these files (languages share one); all faults are reported at once."""
    faults = Faults(task.name)
    files = {file_language(name): path for name, path in files.items()}
    found: dict[str, _Captions] = {}
    for path in dict.fromkeys(files.values()):
        langs = sorted(lang for lang, its in files.items() if its == path)
        found |= _read(path, langs, faults)
    for lang, captions in found.items():
        if not captions.texts and not faults.count:
            faults.add(files[lang], "$", f"no image has a caption in {lang!r}")
    faults.check()
    number = {
        image: n
        for n, image in enumerate(dict.fromkeys(i for c in found.values() for i in c.images))
    }
    images = {lang: np.array([number[i] for i in c.images]) for lang, c in sorted(found.items())}
    limit = reading.limit
    return Collection(
        queries={
            lang: Queries(
                tuple(c.ids[:limit]), tuple(c.texts[:limit]), clusters=tuple(c.images[:limit])
            )
            for lang, c in found.items()
        },
        passages={lang: Passages(tuple(c.ids), tuple(c.texts)) for lang, c in found.items()},
        relevance={
            (asked, sought): _relevance(images[asked][:limit], images[sought], asked == sought)
            for asked in images
            for sought in images
        },
        cluster="document",
        parallel=False,
        digests={},
        own={lang: np.arange(len(rows[:limit])) for lang, rows in images.items()},
    )


def _read(path: Path, langs: list[str], faults: Faults) -> dict[str, _Captions]:
    found = {lang: _Captions() for lang in langs}
    seen: set[str] = set()

    def parse(line: str) -> None:
        stated = json_object(line)
        image = text_of(stated, IMAGE)
        if image in seen:
            raise ValueError(f"{image!r} is the image of an earlier line")
        seen.add(image)
        for lang in sorted(stated.keys() & found.keys()):
            for row, text in enumerate(_texts(stated, lang)):
                found[lang].texts.append(text)
                found[lang].images.append(image)
                found[lang].ids.append(f"{lang}:{image}:{row}")

    for _ in read_lines(path, faults, parse):
        pass
    return found


def _texts(stated: Mapping[str, Any], lang: str) -> list[str]:
    """The captions of a line in a language that are not blank; none where it lacks the language."""
    entry = stated[lang]
    captions = entry.get("caption", []) if isinstance(entry, dict) else None
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError(f"{lang!r} is no object with a list of texts under 'caption'")
    if len(captions) > MOST_CAPTIONS:
        raise ValueError(
            f"{lang!r} has {len(captions):,} captions of one image: at most {MOST_CAPTIONS} are taken"
        )
    return [trimmed for text in captions if (trimmed := clean_text(text))]


def _relevance(asked: Ints, sought: Ints, same: bool) -> Relevance:
    """Captions of the same image; of its own language all but the query itself."""
    query, passage = equal_pairs(asked, sought)
    if same:
        other = query != passage
        query, passage = query[other], passage[other]
    return Relevance(query, passage, np.ones(len(query), np.int32))
