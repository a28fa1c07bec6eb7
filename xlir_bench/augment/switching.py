"""Code-switching after arXiv 2305.05295: words of a text are replaced by translations, each with a probability.

The translations come from word lists: a folder of ``en-de.tsv``, each line a word, a tab, its translation. What is
drawn depends on the text and the seed alone: other rows do not change it, and equal texts stay equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xlir_bench.augment.words import (
    atoms,
    draws,
    entry_form,
    has_letter,
    in_case_of,
    lookup_form,
    needs_space,
)
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.options.augmenting import Side, SwitchOptions
from xlir_bench.sources.rows import Faults, read_lines
from xlir_bench.train.rows import SIDES, Row, dataset_of, join_origins

ORIGIN = "code-switched"
SIDES_OF: Mapping[Side, tuple[str, ...]] = {
    "question": ("question",),
    "answer": (
        "answer",
        "negative",
    ),  # a negative in another language than the answer would be too easy
    "both": ("question", "answer", "negative"),
}
LONGEST_ENTRY = 200
"""Characters of a word or translation, at most."""
MOST_TRANSLATIONS = 1000
"""Translations of one word into one language, at most."""

Choices = dict[str, tuple[str, ...]]
"""Translations of a word by language."""


@dataclass(slots=True)
class Lexicon:
    """Translations of words, by language of the word, then language of the translation."""

    entries: dict[str, dict[str, dict[str, tuple[str, ...]]]] = field(default_factory=dict)
    """Innermost: the translations by the lookup form of the word, in the order of the file."""
    longest: dict[str, dict[str, int]] = field(default_factory=dict)
    """By language and first atom: how many atoms the longest entry has that begins with it."""
    unchanged: int = 0
    """Lines that were ignored because they translate a word by itself."""

    def targets(self, source: str) -> tuple[str, ...]:
        """The languages that the lexicon translates words of `source` into."""
        return tuple(sorted(self.entries.get(source, ())))

    def add(self, source: str, target: str, word: str, translation: str) -> None:
        """Enter a translation, unless it is the word itself; ValueError where a word has too many."""
        if translation.casefold() == word.casefold():
            self.unchanged += 1
            return
        forms = entry_form(word, source)
        key = "".join(forms)
        entries = self.entries.setdefault(source, {}).setdefault(target, {})
        known = entries.get(key, ())
        if translation not in known:
            if len(known) == MOST_TRANSLATIONS:
                raise ValueError(f"{word!r} has over {MOST_TRANSLATIONS:,} translations")
            entries[key] = (*known, translation)
        longest = self.longest.setdefault(source, {})
        longest[forms[0]] = max(longest.get(forms[0], 0), len(forms))


def read_lexicon(
    folder: Path,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    both_ways: bool = False,
) -> Lexicon:
    """The word lists of a folder, of all pairs of languages or only from `sources` and into `targets`.

    With `both_ways` ``en-de.tsv`` is also read as a list from de to en.
    """
    word_lists = _word_lists(folder)
    lists = [(source, target, False, path) for source, target, path in word_lists]
    if both_ways:
        lists += [(target, source, True, path) for source, target, path in word_lists]
    for option, names, known in (
        ("--from", sources, {source for source, *_ in lists}),
        ("--to", targets, {target for _, target, *_ in lists}),
    ):
        if unknown := sorted(set(names or ()) - known):
            raise UnknownNameError(f"language for {option} in {folder}", unknown, known)
    # The order of translations decides what a seed draws: a list comes before one that is read backwards.
    wanted = [
        stated
        for stated in sorted(lists)
        if (sources is None or stated[0] in sources) and (targets is None or stated[1] in targets)
    ]
    lacking = sorted(set(sources or ()) - {source for source, *_ in wanted})
    if lacking or not wanted:
        raise InputError(
            f"{folder} has no word list from {', '.join(lacking or sources or ())} to"
            f" {', '.join(targets or ('any other language',))};"
            f" it has {', '.join(path.stem for _, _, path in word_lists)}"
        )
    lexicon = Lexicon()
    faults = Faults("the lexicon")
    for source, target, backwards, path in wanted:
        for place, cells in read_lines(path, faults, _parse):
            word, translation = reversed(cells) if backwards else cells
            try:
                lexicon.add(source, target, word, translation)
            except ValueError as error:
                faults.add(path, place, str(error))
    faults.check()
    return lexicon


def _word_lists(folder: Path) -> list[tuple[str, str, Path]]:
    """The languages and the path of each list."""
    if not folder.is_dir():
        raise InputError(f"--lexicon {folder} is no folder; give one that holds en-de.tsv, …")
    named = [(*path.stem.partition("-")[::2], path) for path in sorted(folder.glob("*.tsv"))]
    lists = [(x, y, path) for x, y, path in named if x and y and x != y]
    if not lists:
        raise InputError(f"--lexicon {folder} holds no word list, such as en-de.tsv")
    return lists


def _parse(line: str) -> tuple[str, str]:
    cells = [" ".join(cell.split()) for cell in line.split("\t")]
    if len(cells) == 1:
        raise ValueError("has no tab between a word and its translation")
    if len(cells) > 2:
        raise ValueError(f"has {len(cells)} cells, not two: a word and its translation")
    if max(map(len, cells)) > LONGEST_ENTRY:
        raise ValueError(f"has an entry of over {LONGEST_ENTRY} characters")
    if not all(cells):
        raise ValueError("has no word" if not cells[0] else "has no translation")
    return cells[0], cells[1]


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
    """Code-switches rows, and counts how many of their words the lexicon has."""

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
                # With `--into one`, an answer and its negative are switched into the same language.
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
        """A text with words replaced; with ``--into one``, the text `drawn_by` decides which language is drawn."""
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
