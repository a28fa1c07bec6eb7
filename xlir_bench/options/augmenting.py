"""Options of making new training rows from existing texts or rows."""

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
    """Which rows are made from parallel text."""

    make: Make = option("What kind of rows to make.", "translations", group=MADE)
    sizes: tuple[int, ...] = option(
        "How many sentences are joined into a passage.", (2, 3, 5), group=MADE, metavar="N,N", least=2
    )  # fmt: skip
    langs: tuple[str, ...] | None = option("Only these languages.", None, group=LANGUAGES)


@dataclass(frozen=True, slots=True)
class SwitchOptions:
    """How words are replaced by translations."""

    p: float = option(
        "How likely a word is replaced if the lexicon has it.", 0.5, group=WORDS, metavar="P", above=0, most=1
    )  # fmt: skip
    into: Literal["one", "many"] = option(
        "Replace words by one language, drawn for each text, or by many, drawn for each word.", "many", group=WORDS
    )  # fmt: skip
    side: Side = option(
        "Which texts are changed; hard negatives are changed with the answers.", "both", group=WORDS
    )
    seed: int = option("Random seed.", 0, group=WORDS, least=0)


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """How texts are translated."""

    model: Path = option(
        "The folder of a Marian, M2M100 or NLLB model (safetensors).", group=MODEL, metavar="PATH"
    )
    to: tuple[str, ...] = option("Translate into these languages.", group=LANGUAGES)
    sources: tuple[str, ...] | None = option(
        "Translate from the first of these languages that a row has.  [default: en, else any the model knows]",
        None, group=LANGUAGES, flag="from",
    )  # fmt: skip
    batch_tokens: int = option(
        "Tokens in a batch, with padding; texts of similar length share a batch.",
        4096, group=MODEL, metavar="N", above=0,
    )  # fmt: skip
    max_length: int = option(
        "Longest text and translation; longer ones are cut, and counted.",
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
            raise InputError(
                f"--model {self.model} is no folder with a Marian, M2M100 or NLLB model"
            )
