"""Code-switching after arXiv 2305.05295: words of a text are replaced by translations, each with a probability.

What is drawn depends on the text and the seed alone: other rows may come and go, and equal texts stay equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from xlir_bench.augment.lexicon import Lexicon
from xlir_bench.augment.words import atoms, draws, has_letter, in_case_of, lookup_form, needs_space
from xlir_bench.options.augmenting import Side, SwitchOptions
from xlir_bench.train.rows import SIDES, Row, dataset_of, join_origins

ORIGIN = "code-switched"
SIDES_OF: Mapping[Side, tuple[str, ...]] = {
    "question": ("question",),
    "answer": ("answer", "negative"),  # a negative in another language than the answer is easy
    "both": ("question", "answer", "negative"),
}

Choices = dict[str, tuple[str, ...]]
"""Translations of a word by language."""


@dataclass(slots=True)
class Coverage:
    """How many words of the texts of one language the lexicon has."""

    texts: int = 0
    tokens: int = 0
    """Words; in a script without spaces, entries of the lexicon and runs of signs that are in no entry."""
    known: int = 0
    """Words that the lexicon has in a language that could be drawn."""
    replaced: int = 0
    ambiguous: int = 0
    """Replaced words that had several translations into the language drawn."""
    into: Counter[str] = field(default_factory=Counter)
    """Replaced words by the language of the new word."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self) | {"into": dict(sorted(self.into.items()))}


@dataclass(slots=True)
class Switcher:
    """Switches rows and counts what the lexicon has of them."""

    lexicon: Lexicon
    options: SwitchOptions
    coverage: dict[str, Coverage] = field(default_factory=dict)
    """By language of the text."""
    rows: int = 0
    """Rows that were switched."""
    unchanged: int = 0
    """Rows without a copy, because no word was replaced."""

    def switched(self, rows: Iterable[Row], source: str) -> Iterator[Row]:
        """A code-switched copy of each row in which a word was replaced.

        `source` is the data set of rows that name none: copy and original are one item to the trainer.
        """
        for row in rows:
            sides: dict[str, Any] = {side: row.side(side) for side in SIDES}
            for side in SIDES_OF[self.options.side]:
                texts = row.side(side)
                # An answer and its negative are switched into the same language of `--into one`.
                drawn_by = texts if side == "question" else {**texts, **row.answer}
                sides[side] = {
                    lang: self.text(text, lang, drawn_by[lang])
                    for lang, text in texts.items()
                    if self.lexicon.targets(lang)
                }
            changed = any(texts.items() - row.side(side).items() for side, texts in sides.items())
            if changed and sides["question"] and sides["answer"]:
                self.rows += 1
                origin = join_origins([row.origin, ORIGIN])
                yield replace(row, dataset=dataset_of(row, source), origin=origin, **sides)
            else:
                self.unchanged += 1

    def text(self, text: str, lang: str, drawn_by: str = "") -> str:
        """A text with words replaced; the text `drawn_by` decides on the language of ``--into one``."""
        targets = self.lexicon.targets(lang)
        if self.options.into == "one":
            draw = next(draws(f"{self.options.seed}\0language\0{lang}\0{drawn_by or text}", 1))
            targets = (targets[int(draw * len(targets))],)
        coverage = self.coverage.setdefault(lang, Coverage())
        coverage.texts += 1
        pieces = atoms(text)
        forms = [lookup_form(atom.text, lang) for atom in pieces]
        drawn = draws(f"{self.options.seed}\0words\0{lang}\0{text}", 3 * len(pieces))
        written: list[str] = []
        after_new_word = in_unknown_signs = False
        place = 0
        while place < len(pieces):
            part, kind = pieces[place]
            length = 1
            choices: Choices = {}
            if kind in ("word", "sign") and has_letter(part):
                length, choices = self._longest_entry(forms, place, lang, targets)
            if choices:
                part = "".join(atom.text for atom in pieces[place : place + length])
                coverage.tokens += 1
            elif kind == "word":
                coverage.tokens += has_letter(part)
            elif kind == "sign":
                coverage.tokens += not in_unknown_signs
            in_unknown_signs = kind == "sign" and not choices
            new_word = self._drawn(part, choices, drawn, coverage) if choices else None
            part = new_word or part
            # The new word's script may have spaces where the old one's has none.
            if (new_word or after_new_word) and written and needs_space(written[-1][-1], part[0]):
                written.append(" ")
            written.append(part)
            after_new_word = new_word is not None
            place += length
        return "".join(written)

    def _longest_entry(
        self, forms: Sequence[str], place: int, lang: str, targets: Sequence[str]
    ) -> tuple[int, Choices]:
        """How many atoms the longest entry covers that begins at `place`, and its translations."""
        entries = self.lexicon.entries[lang]
        longest = self.lexicon.longest[lang].get(forms[place], 0)
        for length in range(min(longest, len(forms) - place), 0, -1):
            key = "".join(forms[place : place + length])
            if choices := {x: entries[x][key] for x in targets if key in entries[x]}:
                return length, choices
        return 1, {}

    def _drawn(
        self, word: str, choices: Choices, drawn: Iterator[float], coverage: Coverage
    ) -> str | None:
        """One of the translations, None where the word is kept."""
        coverage.known += 1
        # All three are drawn in any case, so that the other words of the text stay the same at another `p`.
        replaces, language, translation = next(drawn), next(drawn), next(drawn)
        if replaces >= self.options.p:
            return None
        target = sorted(choices)[int(language * len(choices))]
        words = choices[target]
        coverage.replaced += 1
        coverage.ambiguous += len(words) > 1
        coverage.into[target] += 1
        return in_case_of(word, words[int(translation * len(words))], target)
