"""Run and qrels files of a result, as trec_eval and similar tools read them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from xlir_bench.errors import InputError
from xlir_bench.files import explained, replacing
from xlir_bench.records import POOL, Kind
from xlir_bench.results.store import REMEDY, Result


def write_trec(result: Result, folder: Path) -> list[Path]:
    """`<kind>/<query lang>-<passage lang>.run` and `.qrels`; the pool is written ``all``.

    Tools that read run files sort them again by score, and ties by name. So the score column counts down
    from the number of passages kept, which keeps the order that was scored.
    """
    if "run" not in result.tables:
        raise InputError(f"{result.folder} keeps no passages; run again with --save-run 1000")
    run = result.tables["run"].to_pandas()
    ranks = result.tables["ranks"].to_pandas()
    ranks["passage_lang"] = ranks["passage_lang"].astype(str)
    ranks.loc[ranks["kind"] == Kind.MULTILINGUAL.value, "passage_lang"] = POOL
    run["score"] = (run["rank"].max() if len(run) else 0) + 1 - run["rank"]
    run["Q0"], run["tag"] = "Q0", quote(result.record.encoder.slug, safe="")
    ranks["iteration"] = "0"
    columns = {
        "run": ["query_id", "Q0", "passage_id", "rank", "score", "tag"],
        "qrels": ["query_id", "iteration", "passage_id", "grade"],
    }
    written = []
    for suffix, frame in {"run": run, "qrels": ranks}.items():
        for column in ("query_id", "passage_id"):  # blanks separate columns, so names are escaped
            frame[column] = frame[column].map(lambda name: quote(name, safe=":/.-_~@!$&'()*+,;="))
        for (kind, query_lang, passage_lang), rows in frame.groupby(
            [frame[key].astype(str) for key in ("kind", "query_lang", "passage_lang")], sort=True
        ):
            langs = (query_lang, "all" if passage_lang == POOL else passage_lang)
            name = f"{'-'.join(quote(str(lang), safe='') for lang in langs)}.{suffix}"
            path = folder / str(kind) / name
            with explained(folder, REMEDY), replacing(path) as temporary:
                rows[columns[suffix]].to_csv(
                    temporary, sep=" ", header=False, index=False, lineterminator="\n"
                )
            written.append(path)
    return written
