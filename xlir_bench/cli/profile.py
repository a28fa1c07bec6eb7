"""`xlir-bench profile`: what an encoder costs in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    DEFAULT_MODEL,
    FOLDER,
    GroupedCommand,
    Names,
    canonical_command,
    config_option,
    data_option,
    flags_of,
    form_options,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.terminal import say, say_blocks, say_json
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import build

if TYPE_CHECKING:
    from xlir_bench.encoders import EncoderCard
    from xlir_bench.evaluation import CostOptions
    from xlir_bench.results import Result
    from xlir_bench.tasks import Task


@click.command(cls=GroupedCommand)
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, metavar="SPEC",
    help="What to profile; see `xlir-bench run --help`.",
)  # fmt: skip
@click.option("--task", "task_name", default="mini", show_default=True, metavar="NAME",
              help="Whose texts are encoded and searched, and whose map is told.")  # fmt: skip
@click.option("--dims", type=Names(), metavar="N,N", help="Keep the first N dimensions too.")
@click.option(
    "--dtype", "dtypes", type=Names(), default="float32", show_default=True, metavar="NAME,NAME",
    help="What the model computes in: float32, float16, bfloat16; each is loaded anew."
    " Others are compared with the first.",
)  # fmt: skip
@click.option(
    "--index", "indexes", multiple=True, metavar="FACTORY",
    help="A FAISS factory string besides Flat: SQ8, HNSW32, 'IVF64,Flat'; may be given again.",
)  # fmt: skip
@click.option("--batch", type=int, default=32, show_default=True, metavar="B",
              help="Time batches of so many queries, too; passages come in such batches.")  # fmt: skip
@click.option("--queries", type=int, default=100, show_default=True, metavar="N",
              help="How many different queries are timed.")  # fmt: skip
@click.option("--repeats", type=int, default=5, show_default=True, metavar="R",
              help="Rounds; in each, every variant answers all these queries.")  # fmt: skip
@click.option(
    "--depth", type=int, metavar="K",
    help="Search for the K best passages and let only them count in map."
    "  [default: search for 1,000; exact map counts all]",
)  # fmt: skip
@click.option(
    "--output", type=FOLDER, default=Path("results"), show_default=True, metavar="DIR",
    help="The result in DIR/<encoder>/<task> gets the figures.",
)  # fmt: skip
@data_option
@tasks_dir_option
@config_option
@flags_of(
    RunOptions,
    only=("langs", "limit", "batch_tokens", "offline", "max_download", "allow_changed_data"),
)
@flags_of(EncoderOptions, without=("dtype", "truncate_dim", "offline"))
@form_options
@click.option("--json", "as_json", is_flag=True, help="The figures on stdout as JSON.")
@click.option("--plot", type=FOLDER, metavar="FILE",
              help="Map against latency too; .png, .svg or .pdf.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress.")
@verbose_option
def profile(model: str, task_name: str, **stated: Any) -> None:
    """Measure what an encoder costs in use, and which variant of it to ship.

    One query is a query encoded and searched for among the passages of all languages, in a real FAISS
    index. Variants are all combinations of --dtype, --dims and --index; whole vectors and exact search are
    always among them. Each gets its map, latency (p50, p95, p99; alone and in a batch), index bytes and
    bytes a vector. Those are marked that no other marked one beats: by latency (as high a mean map and
    as fast, one of them better) and by size of the index.

    Variants take turns query by query, so that a busy machine is busy for all of them. Percentiles are over
    all rounds, beside them stand the medians of the fastest and the slowest; a variant counts as faster
    than another if it is so in every round.

    The figures go into the stored result of this model (in the first dtype) and task; where there is
    none, it is made as `run` makes it. `leaderboard` and `show` tell them; `run` replaces a result, and its
    figures with it. Vectors are cached: texts are encoded once a dtype.

    \b
    Examples:
      xlir-bench profile
      xlir-bench profile --model out/final --task xquad-r --dims 256,128 --index SQ8 --index HNSW32
      xlir-bench profile --model out/final --dtype float32,bfloat16 --device cuda --json
      xlir-bench profile --model out/final --dims 256,128,64 --depth 10 --plot cost.png
    """
    from xlir_bench.cli.progress import Bars
    from xlir_bench.encoders import describe
    from xlir_bench.evaluation import load_models, measure_cost, settings_asked
    from xlir_bench.files import require_writable
    from xlir_bench.places import data_root
    from xlir_bench.results.store import REMEDY, folder_of_data, result_folder
    from xlir_bench.tasks import catalogue

    (task,) = catalogue(*stated["tasks_dirs"]).get([task_name], stated["langs"])
    options, how = _cost_options(stated), build(EncoderOptions, stated)
    run_options = build(RunOptions, stated | {"data": data_root(stated["data"])})
    settings_asked(task, run_options)
    _check_picture(stated["plot"])
    with Bars(quiet=stated["quiet"]) as bars:
        models = load_models(task, model, options, run_options, how, bars)
        card = describe(models[0].encoder)
        part = run_options.part(task)
        folder = result_folder(stated["output"], card.slug, task.name, part)
        require_writable(folder, REMEDY)
        result = _stored(folder, card, task, run_options)
        if result is None:
            from xlir_bench.evaluation import evaluate

            encoder, command = models[0].encoder, canonical_command()
            result = evaluate(
                task,
                encoder,
                run_options,
                encoder_options=how,
                progress=bars,
                command=command,
            )
            folder = folder_of_data(folder, result.record)
        cost = measure_cost(task, models, options, run_options, bars, canonical_command())
    _tell(result.with_cost(cost).save(folder), folder, stated)


def _tell(result: Result, folder: Path, stated: dict[str, Any]) -> None:
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.tables import heading

    task, encoder, cost = result.record.task, result.record.encoder, result.record.profile.cost
    if cost is None:
        return
    if stated["plot"] is not None:
        from xlir_bench.reports.plots import draw_cost, save

        save(draw_cost(result.record, cost), stated["plot"], 200)
    if stated["as_json"]:
        names = {"task": task.name, "encoder": encoder.name, "slug": encoder.slug}
        say_json(names | cost.model_dump(mode="json"), indent=1)
        return
    say_blocks([heading(result.record), *cost_blocks(cost)], stated["form"])
    say()
    say(f"written to {folder}")
    if stated["plot"] is not None:
        say(f"written to {stated['plot']}")


def _stored(folder: Path, card: EncoderCard, task: Task, options: RunOptions) -> Result | None:
    """The result that is there, if it is of this encoder, this task and its data as they are now."""
    from xlir_bench.records import Silent
    from xlir_bench.results import Result
    from xlir_bench.results.schema import data_digest
    from xlir_bench.results.store import RESULT_FILE
    from xlir_bench.sources import locate

    if not (folder / RESULT_FILE).is_file():
        return None
    result = Result.load(folder)
    record = result.record
    same = (record.encoder.fingerprint, record.task.digest, record.task.data_read)
    files = locate(task, options, Silent())
    now = data_digest({file.stated.path: str(file.sha256) for file in files})
    return result if same == (card.fingerprint, task.digest, now) else None


def _cost_options(stated: dict[str, Any]) -> CostOptions:
    from xlir_bench.errors import InputError, UnknownNameError
    from xlir_bench.evaluation import CostOptions

    dtypes = stated["dtypes"]
    known = ("float32", "float16", "bfloat16")
    if unknown := [name for name in dtypes if name not in known]:
        raise UnknownNameError("dtype", unknown, known)
    dims = [str(dim) for dim in stated["dims"] or ()]
    if strange := [dim for dim in dims if not dim.isdecimal()]:
        raise InputError(f"--dims {','.join(strange)}: whole numbers are wanted, like 256,128")
    return CostOptions(
        dtypes=dtypes or known[:1],
        dims=tuple(int(dim) for dim in dims),
        indexes=stated["indexes"],
        batch=stated["batch"],
        queries=stated["queries"],
        repeats=stated["repeats"],
        depth=stated["depth"],
    )


def _check_picture(path: Path | None) -> None:
    """Fail before minutes of work, not after."""
    if path is None:
        return
    from xlir_bench.files import require_writable
    from xlir_bench.reports.plots.canvas import require_format, style

    require_format(path, "--plot")
    require_writable(path.parent, "name another file with --plot")
    with style():
        pass
