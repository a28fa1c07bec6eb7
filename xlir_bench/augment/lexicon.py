"""Bilingual word lists: a folder of ``en-de.tsv``, each line a word, a tab, its translation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xlir_bench.augment.words import entry_form
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.sources.rows import Faults, read_lines

LONGEST, MOST = 200, 1000
"""Characters of an entry, and translations of a word into a language."""
Entries = dict[str, tuple[str, ...]]
"""Translations by the lookup form of a word, in the order of the file."""


@dataclass(slots=True)
class Lexicon:
    """Translations by language of the word, then language of the translation."""

    entries: dict[str, dict[str, Entries]] = field(default_factory=dict)
    longest: dict[str, dict[str, int]] = field(default_factory=dict)
    """By language and first atom: how many atoms the longest entry has that begins so."""
    unchanged: int = 0
    """Lines that translate a word by itself; they were passed over."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Languages whose words can be replaced."""
        return tuple(sorted(self.entries))

    def targets(self, source: str) -> tuple[str, ...]:
        """Languages that words of `source` can be replaced by."""
        return tuple(sorted(self.entries.get(source, ())))

    def add(self, source: str, target: str, word: str, translation: str) -> bool:
        """Enter a translation; False if it is the word itself."""
        forms = entry_form(word, source)
        key = "".join(forms)
        if translation.casefold() == word.casefold():
            return False
        entries = self.entries.setdefault(source, {}).setdefault(target, {})
        known = entries.get(key, ())
        if translation not in known:
            if len(known) == MOST:
                raise ValueError(f"{word!r} has over {MOST:,} translations")
            entries[key] = (*known, translation)
        longest = self.longest.setdefault(source, {})
        longest[forms[0]] = max(longest.get(forms[0], 0), len(forms))
        return True


def read_lexicon(
    folder: Path,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    both_ways: bool = False,
) -> Lexicon:
    """The word lists of a folder, of all pairs of languages or of some.

    With `both_ways` a file is read backwards as well: what translates a word is translated by it.
    """
    files = _files(folder)
    pairs = _pairs(files, both_ways)
    for option, names, known in (
        ("--from", sources, {source for source, _ in pairs}),
        ("--to", targets, {target for _, target in pairs}),
    ):
        unknown = sorted(set(names or ()) - known)
        if unknown:
            raise UnknownNameError(f"language for {option} in {folder}", unknown, known)
    wanted = {
        (source, target): reading
        for (source, target), reading in pairs.items()
        if (sources is None or source in sources) and (targets is None or target in targets)
    }
    lacking = sorted(set(sources or ()) - {source for source, _ in wanted})
    if lacking or not wanted:
        raise InputError(
            f"{folder} has no word list from {', '.join(lacking or sources or ())} to"
            f" {', '.join(targets or ('any other language',))}; it has {', '.join(sorted(files))}"
        )
    return _read(files, wanted)


def _files(folder: Path) -> dict[str, Path]:
    """The word lists by the name of their pair."""
    if not folder.is_dir():
        raise InputError(f"--lexicon {folder} is no folder; one that holds en-de.tsv, … is wanted")
    files = {p.stem: p for p in sorted(folder.glob("*.tsv")) if _split(p.stem)}
    if not files:
        raise InputError(
            f"--lexicon {folder} holds no word list: files named like en-de.tsv are wanted, each line"
            " a word, a tab, its translation"
        )
    return files


def _split(stem: str) -> tuple[str, str] | None:
    source, dash, target = stem.partition("-")
    return (source, target) if dash and source and target and source != target else None


def _pairs(
    files: Mapping[str, Path], both_ways: bool
) -> dict[tuple[str, str], list[tuple[str, bool]]]:
    """By pair of languages: which files, and whether read backwards."""
    pairs: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for stem in files:
        source, target = _split(stem) or ("", "")
        pairs.setdefault((source, target), []).insert(0, (stem, False))
        if both_ways:
            pairs.setdefault((target, source), []).append((stem, True))
    return pairs


def _read(
    files: Mapping[str, Path], wanted: Mapping[tuple[str, str], Sequence[tuple[str, bool]]]
) -> Lexicon:
    lexicon = Lexicon()
    faults = Faults(where="the lexicon")
    for (source, target), readings in sorted(wanted.items()):
        for stem, backwards in readings:
            for word, translation in _words(files[stem], faults):
                first, second = (translation, word) if backwards else (word, translation)
                try:
                    lexicon.unchanged += not lexicon.add(source, target, first, second)
                except ValueError as error:
                    faults.add(files[stem], "$", str(error))
    faults.check()
    return lexicon


def _words(path: Path, faults: Faults) -> Iterator[tuple[str, str]]:
    return read_lines(path, faults, _parse)


def _parse(line: str) -> tuple[str, str]:
    cells = [" ".join(cell.split()) for cell in line.split("\t")]
    if len(cells) != 2:
        raise ValueError(
            "has no tab between a word and its translation"
            if len(cells) == 1
            else f"has {len(cells)} cells; a word, a tab and its translation are wanted"
        )
    if max(map(len, cells)) > LONGEST:
        raise ValueError(f"has an entry of over {LONGEST} characters")
    if not all(cells):
        raise ValueError("has no word" if not cells[0] else "has no translation")
    return cells[0], cells[1]
