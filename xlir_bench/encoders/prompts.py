"""The prompt before a text: the one of the options, else the one that the model registers, else that of its family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from xlir_bench.errors import WARNING
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import Role

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
SENTENCE = "Represent this sentence for searching relevant passages: "

QUERY_NAMES = (
    "query",
    "retrieval.query",
    "search_query",
    "web_search_query",
    "s2p_query",
    "retrieval-query",
)
PASSAGE_NAMES = (
    "document",
    "passage",
    "corpus",
    "retrieval.passage",
    "search_document",
    "retrieval-document",
)
"""The names under which models register their prompts, the usual ones first."""


class Family(NamedTuple):
    """Models that were trained with the same prompts."""

    name: str
    pattern: str
    """Regular expression, searched in the lower-cased name of a model."""
    query: str = ""
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is put before queries and passages, and why."""

    query: str
    passage: str
    notes: tuple[str, ...] = ()

    def of(self, role: Role) -> str:
        """The prompt of one role."""
        return self.query if role == "query" else self.passage


FAMILIES = (
    Family("E5 instruct", r"\be5-.*instruct|e5-mistral", f"Instruct: {WEB_SEARCH}\nQuery: "),
    Family("E5", r"(?<![a-z0-9])e5-(small|base|large)", "query: ", "passage: "),
    Family("BGE M3", r"bge-m3"),
    Family("BGE Gemma", r"bge-multilingual-gemma2", f"<instruct>{WEB_SEARCH}.\n<query>"),
    Family("BGE English", r"bge-(small|base|large)-en", SENTENCE),
    Family("BGE Chinese", r"bge-(small|base|large)-zh", "为这个句子生成表示以用于检索相关文章："),
    Family("GTE Qwen", r"gte-qwen[\d.]*-.*instruct", f"Instruct: {WEB_SEARCH}\nQuery: "),
    Family("GTE", r"(?<![a-z0-9])gte-(small|base|large|multilingual|modernbert)"),
    Family("Qwen3 Embedding", r"qwen3-embedding", f"Instruct: {WEB_SEARCH}\nQuery:"),
    Family(
        "Mistral instruct", r"(sfr|linq)-embed(ding)?-mistral", f"Instruct: {WEB_SEARCH}\nQuery: "
    ),
    Family("Nomic", r"nomic-embed-text|modernbert-embed", "search_query: ", "search_document: "),
    Family("Arctic 2", r"arctic-embed-.*v2", "query: "),
    Family("Arctic", r"arctic-embed", SENTENCE),
    Family("mxbai German", r"mxbai-embed-de", "query: ", "passage: "),
    Family("mxbai", r"mxbai-embed", SENTENCE),
    Family(
        "Jina 3",
        r"jina-embeddings-v3",
        "Represent the query for retrieving evidence documents: ",
        "Represent the document for retrieval: ",
    ),
    Family(
        "EmbeddingGemma", r"embeddinggemma", "task: search result | query: ", "title: none | text: "
    ),
)
"""The first row whose pattern is found counts, so narrow patterns stand before wide ones."""


def chosen(
    options: EncoderOptions,
    registered: Mapping[str, str],
    default: str | None,
    names: Iterable[str],
    folder: str = "",
) -> Prompts:
    """The prompts of a model: those of the options, else those it registers, else those of its family.

    `registered` are the prompts in its files by name, `default` is the name of its default prompt. `names` are its
    own name and those of the models that it was made from; `folder` is the one that is only the name of a folder.
    """
    prompts = _registered(registered, default) or _of_family(registered, names, folder)
    query, passage = options.query_prompt, options.passage_prompt
    notes = () if query is not None and passage is not None else prompts.notes
    if query is not None:
        notes += (f"prompts: {query!r} for queries, as --query-prompt asks",)
    if passage is not None:
        notes += (f"prompts: {passage!r} for passages, as --passage-prompt asks",)
    query = prompts.query if query is None else query
    return Prompts(query, prompts.passage if passage is None else passage, notes)


def family_of(names: Iterable[str]) -> tuple[Family, str] | None:
    """The first family that one of the names belongs to, and that name."""
    matches = (
        (family, name)
        for name in names
        for family in FAMILIES
        if re.search(family.pattern, name.lower())
    )
    return next(matches, None)


def _registered(registered: Mapping[str, str], default: str | None) -> Prompts | None:
    """The prompts that the model registers, or None. An empty prompt counts as none: libraries write it for "none"."""
    by_name = {name.lower(): text for name, text in registered.items() if text}
    query = next((by_name[n] for n in QUERY_NAMES if n in by_name), "")
    passage = next((by_name[n] for n in PASSAGE_NAMES if n in by_name), "")
    if query or passage:
        why = f"prompts: {query!r} for queries and {passage!r} for passages, as the model registers them"
        return Prompts(query, passage, (why,))
    if default is not None and (text := by_name.get(default.lower())):
        why = (
            f"prompts: {text!r} for queries and passages, the model's default prompt ({default!r})"
        )
        return Prompts(text, text, (why,))
    return None


def _of_family(registered: Mapping[str, str], names: Iterable[str], folder: str) -> Prompts:
    others = sorted(name for name, text in registered.items() if text)
    none = (
        f"registers none for retrieval (only {', '.join(others)})" if others else "registers none"
    )
    match = family_of(names)
    if match is None:
        return Prompts("", "", (f"prompts: none: the model {none} and its family is not known",))
    family, name = match
    if family.query or family.passage:
        why = (
            f"prompts: {family.query!r} for queries and {family.passage!r} for passages: the model {none}, but"
            f" {family.name} models need them ({name!r} was recognised); --query-prompt and --passage-prompt say"
            " otherwise"
        )
    else:
        why = f"prompts: none, as {family.name} models want ({name!r} was recognised)"
    if name == folder:
        why = f"{WARNING}{why}; but only the folder is called so, and no file in it confirms it"
    return Prompts(family.query, family.passage, (why,))
