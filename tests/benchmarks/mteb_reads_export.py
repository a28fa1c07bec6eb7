"""Whether mteb, in an environment of its own, reads the files of `export mteb` with the same values."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks.targets import python_with_mteb
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.reports.export import write
from xlir_bench.results import Result

READ = """
import json, sys
from pathlib import Path
import mteb

cache = mteb.ResultCache(Path(sys.argv[1]))
found = {"mteb": mteb.__version__, "results": []}
for model in cache.load_results(include_remote=False).model_results:
    for task in model.task_results:
        found["results"].append({
            "model": model.model_name, "revision": model.model_revision, "task": task.task_name,
            "layout": task.mteb_version, "date": task.date.isoformat(),
            "subsets": {s["hf_subset"]: s for s in task.scores["test"]},
            "languages": sorted(task.languages), "score": task.get_score(),
        })
print(json.dumps(found))
"""


def faults(result: Result, read: dict) -> list[str]:
    """The values that mteb reads otherwise than the result has them."""
    record = result.record
    found = []
    if len(read["subsets"]) != len(record.settings):
        found.append(f"{len(read['subsets'])} subsets of {len(record.settings)}")
    for setting in record.settings:
        target = setting.passage_langs[0] if len(setting.passage_langs) == 1 else "all"
        seen = read["subsets"].get(f"{setting.query_lang}-{target}", {})
        for measure, value in setting.measures.items():
            if seen.get(measure.replace("@", "_at_")) != value:
                found.append(f"{setting.query_lang}-{target} {measure}")
    return found


def main() -> None:
    """Export two results, have mteb load them, and compare every value."""
    python = python_with_mteb()
    if python is None:
        print("skipped: mteb cannot be installed here")
        return
    options = RunOptions(langs=("de", "en"), cache=None)
    results = [evaluate("mini", f"builtin:{name}", options) for name in ("ngram", "random")]
    with tempfile.TemporaryDirectory() as folder:
        write("mteb", results, Path(folder) / "results")
        done = subprocess.run(
            [python, "-c", READ, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )  # fmt: skip
    read = json.loads(done.stdout.splitlines()[-1])
    by_model = {row["model"]: row for row in read["results"]}
    for result in results:
        row = by_model[f"xlir-bench/{result.record.encoder.slug}"]
        wrong = faults(result, row)
        print(
            f"{'MISS' if wrong else 'ok  '} mteb {read['mteb']} reads {row['task']} of {row['model']}"
            f" ({row['revision']}, layout {row['layout']}, {row['date']}): {len(row['subsets'])} subsets,"
            f" {' '.join(row['languages'])}, score {row['score']:.4f} {'; '.join(wrong)}"
        )


if __name__ == "__main__":
    main()
