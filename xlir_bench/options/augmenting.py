"""How training rows are made of those that there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xlir_bench.errors import InputError
from xlir_bench.options.stating import MODEL, check_bounds, option

LANGUAGES, WORDS, MADE = "Languages", "Words", "What is made"
Make = Literal["translations", "passages", "next", "context"]
Side = Literal["question", "answer", "both"]


@dataclass(frozen=True, slots=True)
class ParallelOptions:
    """What rows are made of parallel text."""

    make: Make = option("What a row is.", "translations", group=MADE)
    sizes: tuple[int, ...] = option(
        "Sentences of a joined passage.", (2, 3, 5), group=MADE, metavar="N,N", least=2
    )  # fmt: skip
    langs: tuple[str, ...] | None = option("Only these languages.", None, group=LANGUAGES)


@dataclass(frozen=True, slots=True)
class SwitchOptions:
    """How words are replaced by translations."""

    p: float = option(
        "How likely a word that the lexicon has is replaced.", 0.5, group=WORDS, metavar="P", above=0, most=1
    )  # fmt: skip
    into: Literal["one", "many"] = option(
        "Words of one language a text, drawn by text, or of many, drawn by word.", "many", group=WORDS
    )  # fmt: skip
    side: Side = option("Which texts; hard negatives go with the answers.", "both", group=WORDS)
    seed: int = option("Random seed.", 0, group=WORDS, least=0)


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """How texts are translated."""

    model: Path = option(
        "The folder of a Marian, M2M100 or NLLB model (safetensors).", group=MODEL, metavar="PATH"
    )
    to: tuple[str, ...] = option("Translate into these.", group=LANGUAGES)
    sources: tuple[str, ...] | None = option(
        "Translate from these, the first that a row has.  [default: en, else any the model knows]",
        None, group=LANGUAGES, flag="from",
    )  # fmt: skip
    batch_tokens: int = option(
        "Tokens of a batch, padding too; texts of like length go together.",
        4096, group=MODEL, metavar="N", above=0,
    )  # fmt: skip
    max_length: int = option(
        "Length of a text and of its translation; what is longer is cut, and counted.",
        256, group=MODEL, metavar="TOKENS", above=0,
    )  # fmt: skip
    num_beams: int = option("Beams of the search.", 4, group=MODEL, metavar="N", above=0)
    device: str | None = option(
        "Where the model runs.  [default: the best there is]",
        None, group=MODEL, metavar="cpu|cuda|mps",
    )  # fmt: skip
    dtype: Literal["float32", "bfloat16", "float16"] = option(
        "What the model computes in.", "float32", group=MODEL
    )

    def check(self) -> None:
        """Refuse what cannot run before anything is read."""
        check_bounds(self)
        if not self.model.is_dir():
            raise InputError(f"--model {self.model} is no folder of a Marian, M2M100 or NLLB model")
