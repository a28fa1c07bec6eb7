"""Reads Crossmodal-3600's layout: a caption finds the other captions of its image, in any language.

JSON Lines of ``{"image/key": …, "<lang>": {"caption": […]}, …}``. Every caption is a query and a candidate; a
query's own caption leaves the pool. Captions of an image were written independently: they are no translations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlir_bench.records import Collection
from xlir_bench.sources.collecting import (
    LanguageTexts,
    ReadOptions,
    collection,
    read_languages,
)
from xlir_bench.sources.rows import Faults, rows, text_of
from xlir_bench.tasks import Task

IMAGE = "image/key"
MOST_CAPTIONS = 100
"""Of an image in a language: each is relevant to every other."""


def read_captions(task: Task, files: Mapping[str, Path], options: ReadOptions) -> Collection:
    """The collection in these files (languages share one); all faults are reported at once."""
    languages = read_languages(task, files, _read)
    return collection(languages, options.limit, cluster="document", queries_are_passages=True)


def _read(path: Path, langs: list[str], faults: Faults) -> dict[str, LanguageTexts]:
    languages = {lang: LanguageTexts() for lang in langs}
    images: set[str] = set()
    for place, row in rows(path, faults):
        with faults.at(path, place):
            image = text_of(row, IMAGE)
            if image in images:
                raise ValueError(f"{image!r} is the image of an earlier line")
            images.add(image)
            for lang in sorted(row.keys() & languages.keys()):
                texts = languages[lang]
                for number, caption in enumerate(_captions(row, lang)):
                    name = f"{image}:{number}"
                    texts.ask(f"{lang}:{name}", caption, image)
                    texts.relevant.append((image, len(texts.passages), 1))
                    texts.passages[name] = caption
    for lang, texts in languages.items():
        if not texts.questions and not faults.count:
            faults.add(path, "$", f"no image has a caption in {lang!r}")
    return languages


def _captions(row: Mapping[str, Any], lang: str) -> list[str]:
    """The captions of a line in a language that are not blank."""
    entry = row[lang]
    captions = entry.get("caption", []) if isinstance(entry, dict) else None
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError(f"{lang!r} is no object with a list of texts under 'caption'")
    if len(captions) > MOST_CAPTIONS:
        raise ValueError(
            f"{lang!r} has {len(captions):,} captions of one image: at most {MOST_CAPTIONS} are taken"
        )
    return [text for caption in captions if (text := caption.strip())]
