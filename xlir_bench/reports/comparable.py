"""Whether results measure the same thing, and what differs where they do not."""

from __future__ import annotations

from collections.abc import Sequence

from xlir_bench.errors import NotComparableError
from xlir_bench.results import Result, ResultRecord


def what_differs(first: ResultRecord, second: ResultRecord) -> list[str]:
    """Everything that makes two results measure different things; empty if they are comparable."""
    a, b = first.options, second.options
    found = []
    if first.task.digest != second.task.digest:
        found.append(f"task ({_task(first)} against {_task(second)})")
    elif _unlike_data(first, second):
        known = first.task.files.keys() & second.task.files.keys()
        changed = sorted(p for p in known if first.task.files[p] != second.task.files[p])
        found.append(f"data files {', '.join(changed)}" if changed else "data files")
    stated = {
        "languages": (sorted(a.langs) or "all", sorted(b.langs) or "all"),
        "kinds": (sorted(a.kinds) or "all", sorted(b.kinds) or "all"),
        "limit": (a.limit or "none", b.limit or "none"),
        "corpus limit": (a.corpus_limit or "none", b.corpus_limit or "none"),
        "candidate text": (a.candidate, b.candidate),
        "measures": (sorted(set(a.measures)), sorted(set(b.measures))),
        "index": (a.index, b.index),
        "vectors": (a.vectors, b.vectors),
        "changed data": (sorted(a.changed_data) or "none", sorted(b.changed_data) or "none"),
    }
    found += [
        f"{what} ({_told(x)} against {_told(y)})" for what, (x, y) in stated.items() if x != y
    ]
    return found


def _unlike_data(first: ResultRecord, second: ResultRecord) -> bool:
    """Whether other data was read; with other languages, other files are, which is said by itself."""
    a, b = first.task, second.task
    if a.files.keys() != b.files.keys() and sorted(first.options.langs) != sorted(
        second.options.langs
    ):
        return any(a.files[path] != b.files[path] for path in a.files.keys() & b.files.keys())
    return None not in (a.data_read, b.data_read) and a.data_read != b.data_read


def require_comparable(results: Sequence[Result], force: bool, remedy: str) -> list[str]:
    """Refuse results that measure different things, or say what differs where that is forced."""
    first = results[0]
    found = {
        label: faults
        for label, other in zip(labels(results)[1:], results[1:], strict=True)
        if (faults := what_differs(first.record, other.record))
    }
    told = "; ".join(f"{label}: {', '.join(faults)}" for label, faults in found.items())
    if found and not force:
        raise NotComparableError(
            f"not the same thing as {labels(results)[0]} was measured by {told}\n{remedy}"
        )
    unknown = [
        label
        for label, result in zip(labels(results), results, strict=True)
        if result.record.task.data_read is None
    ]
    return [
        *(
            [f"not the same thing was measured: {told}; only what both have is compared"]
            * bool(found)
        ),
        *([f"which data was read is not checked: {', '.join(unknown)} names none"] * bool(unknown)),
    ]


def labels(results: Sequence[Result]) -> list[str]:
    """What to call each result: its encoder's name, and more where two have the same."""
    names = [r.record.encoder.name for r in results]
    if len(set(names)) < len(names):
        names = [r.record.encoder.slug for r in results]
    if len(set(names)) < len(names):
        names = [str(r.folder or f"{r.record.encoder.slug} of {r.record.created}") for r in results]
    if len(set(names)) < len(names):
        names = [f"{name} ({i})" for i, name in enumerate(names, 1)]
    return names


def _task(record: ResultRecord) -> str:
    digest = record.task.digest.removeprefix("sha256:")[:8]
    return f"{record.task.name} version {record.task.version}, digest {digest}"


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
