"""TREC run and qrels files, a pair for each setting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from xlir_bench.errors import InputError
from xlir_bench.files import explained, replacing
from xlir_bench.records import POOL
from xlir_bench.results.store import REMEDY

if TYPE_CHECKING:
    import pandas as pd

    from xlir_bench.results.store import Result

KEYS = ["kind", "query_lang", "passage_lang"]


def write_trec(result: Result, folder: Path) -> list[Path]:
    """`<kind>/<query lang>-<passage lang>.run` and `.qrels`; the pool is written ``all``.

    Tools that read run files sort them again by score, ties by name: so the score column counts down
    from the number of passages kept, and the order is the one that was scored.
    """
    if "run" not in result.tables:
        raise InputError(f"{result.folder} keeps no passages; run again with --save-run 1000")
    tag = quote(result.record.encoder.slug, safe="")
    run = result.tables["run"].to_pandas()
    ranks = result.tables["ranks"].to_pandas()
    ranks["passage_lang"] = ranks["passage_lang"].astype(str)
    ranks.loc[ranks["kind"] == "multilingual", "passage_lang"] = POOL
    depth = int(run["rank"].max()) if len(run) else 0
    run["score"] = depth + 1 - run["rank"]
    files = {
        "run": _columns(run, ["Q0"], ["rank", "score"], [tag]),
        "qrels": _columns(ranks, ["0"], ["grade"], []),
    }
    written = []
    for suffix, frame in files.items():
        settings = (run if suffix == "run" else ranks)[KEYS].astype(str)
        for (kind, query_lang, passage_lang), rows in frame.groupby(
            [settings[key] for key in KEYS], sort=True
        ):
            langs = (query_lang, "all" if passage_lang == POOL else passage_lang)
            name = f"{'-'.join(quote(str(lang), safe='') for lang in langs)}.{suffix}"
            path = folder / str(kind) / name
            with explained(folder, REMEDY), replacing(path) as temporary:
                rows.to_csv(temporary, sep=" ", header=False, index=False)
            written.append(path)
    return written


def _columns(
    rows: pd.DataFrame, second: list[str], numbers: list[str], last: list[str]
) -> pd.DataFrame:
    """The columns of a TREC file; names are escaped, since blanks separate columns."""
    import pandas as pd

    columns: dict[str, object] = {"query": rows["query_id"].map(_escaped)}
    columns |= {f"constant {value}": value for value in second}
    columns["passage"] = rows["passage_id"].map(_escaped)
    columns |= {name: rows[name] for name in numbers}
    columns |= {f"tag {value}": value for value in last}
    return pd.DataFrame(columns)


def _escaped(name: str) -> str:
    return quote(name, safe=":/.-_~@!$&'()*+,;=")
