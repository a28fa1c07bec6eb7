"""Code-switching after arXiv 2305.05295: words of a text are replaced by translations, each with a probability.

What is drawn depends on the text and the seed alone: other rows may come and go, and equal texts stay equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import shake_128
from typing import Any

from xlir_bench.augment.lexicon import Lexicon
from xlir_bench.augment.words import (
    Atom,
    atoms,
    has_letter,
    in_case_of,
    lookup_form,
    needs_space,
)
from xlir_bench.options.augmenting import Side, SwitchOptions
from xlir_bench.train.rows import SIDES, Row, dataset_of, join_origins

ORIGIN = "code-switched"
SIDES_OF: Mapping[Side, tuple[str, ...]] = {
    "question": ("question",),
    "answer": ("answer", "negative"),  # in another language than the answer it were no hard one
    "both": ("question", "answer", "negative"),
}


@dataclass(slots=True)
class Coverage:
    """What the lexicon had for the texts of one language."""

    texts: int = 0
    tokens: int = 0
    """Words; in a script without spaces what the lexicon has counts as one, and so does what is between."""
    known: int = 0
    """Those that the lexicon has in a language that might be drawn."""
    replaced: int = 0
    ambiguous: int = 0
    """Replaced ones that had several translations in the language drawn."""
    into: Counter[str] = field(default_factory=Counter)
    """Replaced ones by the language of the new word."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        counts = ("texts", "tokens", "known", "replaced", "ambiguous")
        return {name: getattr(self, name) for name in counts} | {
            "into": dict(sorted(self.into.items()))
        }


@dataclass(frozen=True, slots=True)
class _Word:
    """A run of atoms that the lexicon has, and what for."""

    first: int
    stop: int
    choices: Mapping[str, Sequence[str]]
    """Translations by language."""


@dataclass(slots=True)
class Switcher:
    """Switches rows and keeps count of what the lexicon had."""

    lexicon: Lexicon
    options: SwitchOptions
    coverage: dict[str, Coverage] = field(default_factory=dict)
    rows: int = 0
    """Rows that were switched."""
    unchanged: int = 0
    """Rows in which no word was replaced; there is no copy of them."""

    def switched(self, rows: Iterable[Row], source: str) -> Iterator[Row]:
        """A code-switched copy of each row in which a word was replaced; `source` names a data set that
        a row does not name, so that copy and original stay the same item.
        """
        for row in rows:
            copy = self._copy(row, source)
            if copy is None:
                self.unchanged += 1
            else:
                self.rows += 1
                yield copy

    def _copy(self, row: Row, source: str) -> Row | None:
        changed = False
        sides = {side: row.side(side) for side in SIDES}
        for side in SIDES_OF[self.options.side]:
            switched = {}
            for lang, text in row.side(side).items():
                if self.lexicon.targets(lang):
                    together = text if side == "question" else row.answer.get(lang, text)
                    switched[lang] = self.text(text, lang, together)
                    changed = changed or switched[lang] != text
            sides[side] = switched
        if not (changed and sides["question"] and sides["answer"]):
            return None
        origin = join_origins([row.origin, ORIGIN])
        return Row(row.id, dataset_of(row, source), **sides, origin=origin)

    def text(self, text: str, lang: str, together: str | None = None) -> str:
        """A text with words replaced; texts that stay `together` get the same language of ``--into one``."""
        found = atoms(text)
        targets = self.lexicon.targets(lang)
        if self.options.into == "one":
            (draw,) = self._draws("language", lang, together or text, 1)
            targets = (targets[int(draw * len(targets))],)
        words = self._words(found, lang, targets)
        self._count(found, words, lang)
        return self._written(text, found, words, lang)

    def _words(self, found: Sequence[Atom], lang: str, targets: Sequence[str]) -> list[_Word]:
        """What the lexicon has of a text: from the left, always the longest."""
        forms = [lookup_form(a.text, lang) for a in found]
        words: list[_Word] = []
        place = 0
        while place < len(found):
            word = self._word_at(place, found, forms, lang, targets)
            if word is not None:
                words.append(word)
            place = place + 1 if word is None else word.stop
        return words

    def _word_at(
        self,
        place: int,
        found: Sequence[Atom],
        forms: Sequence[str],
        lang: str,
        targets: Sequence[str],
    ) -> _Word | None:
        if found[place].kind not in ("word", "sign") or not has_letter(found[place].text):
            return None
        entries = self.lexicon.entries[lang]
        longest = self.lexicon.longest[lang].get(forms[place], 0)
        for stop in range(min(place + longest, len(found)), place, -1):
            key = "".join(forms[place:stop])
            choices = {x: entries[x][key] for x in targets if key in entries[x]}
            if choices:
                return _Word(place, stop, choices)
        return None

    def _count(self, found: Sequence[Atom], words: Sequence[_Word], lang: str) -> None:
        coverage = self.coverage.setdefault(lang, Coverage())
        known = {place for word in words for place in range(word.first, word.stop)}
        unknown = 0
        after_sign = False
        for place, atom in enumerate(found):
            sign = atom.kind == "sign" and place not in known
            counts = sign or (atom.kind == "word" and place not in known and has_letter(atom.text))
            unknown += counts and not (sign and after_sign)
            after_sign = sign
        coverage.texts += 1
        coverage.known += len(words)
        coverage.tokens += len(words) + unknown

    def _written(self, text: str, found: Sequence[Atom], words: Sequence[_Word], lang: str) -> str:
        draws = iter(self._draws("words", lang, text, 3 * len(words)))
        coverage = self.coverage[lang]
        parts: list[str] = []
        place = 0
        fresh = False
        for word in words:
            replaces, which, what = next(draws), next(draws), next(draws)
            if replaces >= self.options.p:
                continue
            kept = "".join(a.text for a in found[place : word.first])
            old = "".join(a.text for a in found[word.first : word.stop])
            target = sorted(word.choices)[int(which * len(word.choices))]
            choices = word.choices[target]
            coverage.replaced += 1
            coverage.ambiguous += len(choices) > 1
            coverage.into[target] += 1
            _append(parts, kept, fresh)
            _append(parts, in_case_of(old, choices[int(what * len(choices))], target), True)
            place, fresh = word.stop, True
        _append(parts, "".join(a.text for a in found[place:]), fresh)
        return "".join(parts)

    def _draws(self, what: str, lang: str, text: str, count: int) -> list[float]:
        """Numbers from 0 to below 1 that these words, and nothing else, decide."""
        key = f"{self.options.seed}\0{what}\0{lang}\0{text}".encode()
        drawn = shake_128(key).digest(6 * count)
        return [int.from_bytes(drawn[i : i + 6], "little") / 2**48 for i in range(0, 6 * count, 6)]


def _append(parts: list[str], part: str, at_seam: bool) -> None:
    """Add a part; a new word gets a space where the old script had none."""
    if not part:
        return
    if at_seam and parts and needs_space(parts[-1][-1], part[0]):
        parts.append(" ")
    parts.append(part)
