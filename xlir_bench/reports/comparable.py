"""Whether results measure the same thing, and what differs if they do not."""

from __future__ import annotations

from collections.abc import Sequence

from xlir_bench.errors import NotComparableError
from xlir_bench.results import Result, ResultRecord


def what_differs(
    first: ResultRecord, second: ResultRecord, forms_may_differ: bool = False
) -> list[str]:
    """Everything that makes two results measure different things; empty if they are comparable."""
    a, b = first.options, second.options
    differences = []
    if first.task.digest != second.task.digest:
        differences.append(f"task ({_task(first)} against {_task(second)})")
    elif (files := _other_files(first, second)) is not None:
        differences.append(f"data files {', '.join(files) or '(not named)'}")
    options = {
        "languages": (sorted(a.langs) or "all", sorted(b.langs) or "all"),
        "kinds": (sorted(a.kinds) or "all", sorted(b.kinds) or "all"),
        "limit": (a.limit or "none", b.limit or "none"),
        "corpus limit": (a.corpus_limit or "none", b.corpus_limit or "none"),
        "candidate text": (a.candidate, b.candidate),
        "questions": ("", "") if forms_may_differ else (_form(first), _form(second)),
        "word lists": (a.word_lists, b.word_lists) if a.word_lists and b.word_lists else ("", ""),
        "measures": (sorted(set(a.measures)), sorted(set(b.measures))),
        "index": (a.index, b.index),
        "vectors": (a.vectors, b.vectors),
        "changed data": (sorted(a.changed_data) or "none", sorted(b.changed_data) or "none"),
    }
    for option, (x, y) in options.items():
        if x != y:
            one, other = (" ".join(v) if isinstance(v, list) else v for v in (x, y))
            differences.append(f"{option} ({one} against {other})")
    return differences


def _form(record: ResultRecord) -> str:
    return record.options.query_form or "as they are"


def _task(record: ResultRecord) -> str:
    digest = record.task.digest.removeprefix("sha256:")[:8]
    return f"{record.task.name} version {record.task.version}, digest {digest}"


def _other_files(first: ResultRecord, second: ResultRecord) -> list[str] | None:
    """The files that differ, as far as they are named; None where the data is the same, or not recorded."""
    a, b = first.task, second.task
    changed = sorted(p for p in a.files.keys() & b.files.keys() if a.files[p] != b.files[p])
    if a.files.keys() != b.files.keys() and set(first.options.langs) != set(second.options.langs):
        return changed or None  # other languages have other files, which is reported as such
    if None in (a.data_read, b.data_read) or a.data_read == b.data_read:
        return None
    return changed or sorted(a.files.keys() ^ b.files.keys())


def require_comparable(
    results: Sequence[Result], force: bool, remedy: str, forms_may_differ: bool = False
) -> list[str]:
    """Notes on results that are to be compared; an error if they measure different things, unless forced.

    `forms_may_differ`: the same questions in other forms (`--query-form`) are the thing that is compared.
    """
    names = labels(results)
    first, *others = (result.record for result in results)
    faults = [
        f"{name}: {', '.join(differences)}"
        for name, other in zip(names[1:], others, strict=True)
        if (differences := what_differs(first, other, forms_may_differ))
    ]
    notes = []
    forms = [_form(result.record) for result in results]
    if forms_may_differ and len(set(forms)) > 1:
        told = ", ".join(f"{form} in {name}" for name, form in zip(names, forms, strict=True))
        notes.append(f"the questions are {told}: that is what is compared")
    if faults:
        if not force:
            raise NotComparableError(
                f"these results do not measure the same thing as {names[0]}: {'; '.join(faults)}\n  {remedy}"
            )
        notes.append(f"not measured alike ({'; '.join(faults)}): only what both have is compared")
    unknown = [n for n, r in zip(names, results, strict=True) if r.record.task.data_read is None]
    if unknown:
        notes.append(f"the data may differ: {', '.join(unknown)} does not name its files")
    return notes


def labels(results: Sequence[Result]) -> list[str]:
    """A name for each result: its encoder's, or a longer one where two encoders share a name."""
    encoders = [result.record.encoder for result in results]
    forms = [result.record.options.query_form for result in results]
    names = [e.name + (f", questions {form}" if form else "") for e, form in zip(encoders, forms, strict=True)]  # fmt: skip
    slugs = [encoder.slug for encoder in encoders]
    folders = [str(r.folder or f"{r.record.encoder.slug} of {r.record.created}") for r in results]
    for each in (names, slugs, folders):
        if len(set(each)) == len(each):
            return each
    return [f"{name} ({i})" for i, name in enumerate(folders, 1)]
