"""Bilingual word lists: a folder of ``en-de.tsv``, each line a word, a tab, its translation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xlir_bench.augment.words import entry_form
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.sources.rows import Faults, read_lines

LONGEST_ENTRY = 200
"""Characters of a word or translation, at most."""
MOST_TRANSLATIONS = 1000
"""Translations of one word into one language, at most."""


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
        """Languages that words of `source` can be replaced by."""
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
    # The order of translations decides what a seed draws: a list comes before one that is read backwards.
    lists = []
    for path in _word_lists(folder):
        source, target = path.stem.split("-", 1)
        lists.append((source, target, False, path))
        if both_ways:
            lists.append((target, source, True, path))
    for option, names, known in (
        ("--from", sources, {source for source, *_ in lists}),
        ("--to", targets, {target for _, target, *_ in lists}),
    ):
        if unknown := sorted(set(names or ()) - known):
            raise UnknownNameError(f"language for {option} in {folder}", unknown, known)
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
            f" it has {', '.join(path.stem for path in _word_lists(folder))}"
        )
    lexicon = Lexicon()
    faults = Faults("the lexicon")
    for source, target, backwards, path in wanted:
        for _, cells in read_lines(path, faults, _parse):
            word, translation = reversed(cells) if backwards else cells
            try:
                lexicon.add(source, target, word, translation)
            except ValueError as error:
                faults.add(path, "$", str(error))
    faults.check()
    return lexicon


def _word_lists(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"--lexicon {folder} is no folder; give one that holds en-de.tsv, …")
    paths = []
    for path in sorted(folder.glob("*.tsv")):
        source, _, target = path.stem.partition("-")
        if source and target and source != target:
            paths.append(path)
    if not paths:
        raise InputError(f"--lexicon {folder} holds no word list, such as en-de.tsv")
    return paths


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
