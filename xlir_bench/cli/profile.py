"""`xlir-bench profile`: what an encoder costs in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from xlir_bench.cli.command import (
    DEFAULT_MODEL,
    FORM,
    JSON,
    ReportForm,
    canonical_command,
    command,
)
from xlir_bench.cli.terminal import Bars, say, say_report, teller
from xlir_bench.files import require_writable
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.profiling import CostOptions
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import DATA, MODEL, OUTPUT, REST, WHAT, option, options_of

if TYPE_CHECKING:
    from xlir_bench.encoders import Encoder
    from xlir_bench.results import Result
    from xlir_bench.tasks import Task

HEADINGS = (DATA, MODEL, REST)
RUN = {"langs", "limit"} | {o.name for o in options_of(RunOptions) if o.group in HEADINGS}
ENCODER = {"similarity"} | {o.name for o in options_of(EncoderOptions) if o.group in HEADINGS}
"""The options of `run` that `profile` takes: texts and loading. Its --dtype is in `CostOptions`."""


@command(config=Path)
def profile(
    *,
    model: str = option(
        "The model to profile; see `xlir-bench run --help`.", DEFAULT_MODEL, group=WHAT, metavar="SPEC"
    ),
    task: str = option(
        "The task whose texts are encoded and searched, and whose map is measured.", "mini", group=WHAT, metavar="NAME"
    ),
    cost_options: CostOptions,
    output: Path = option(
        "The figures are added to the result in DIR/<encoder>/<task>.", Path("results"), group=OUTPUT, metavar="DIR"
    ),
    form: ReportForm | None = FORM,
    as_json: bool = JSON,
    plot: Path | None = option(
        "Draw map against latency, too; .png, .svg or .pdf.", None, group=OUTPUT, metavar="FILE"
    ),
    quiet: bool = option("No progress.", False, group=OUTPUT),
    data: Annotated[DataOptions, ("tasks_dirs",)],
    options: Annotated[RunOptions, RUN - {"lexicon"}],
    encoder_options: Annotated[EncoderOptions, ENCODER],
) -> None:  # fmt: skip
    """Measure what an encoder costs in use, and which variant of it to ship.

    Latency is the time to encode a query and to search the passages of all languages for it, in a real FAISS
    index. Variants are all combinations of --dtype, --dims and --index; whole vectors and exact search are
    always among them. Each variant gets its map, latency (p50, p95, p99; one query alone and in a batch),
    bytes of the index and bytes per vector. A variant is marked if no other is at least as good in mean map
    and latency and better in one of them; likewise for mean map and size of the index.

    Variants take turns query by query, so that other work on the machine slows all of them alike.
    Percentiles are over all rounds; beside them stand the medians of the fastest and the slowest round. A
    variant counts as faster than another only if it is faster in every round.

    The figures are added to the stored result of this model (in the first --dtype) and task; if there is
    none, it is made as `run` makes it. `leaderboard` and `show` print the figures, and a later `run` of the
    same encoder on the same data keeps them. Vectors are cached: texts are encoded once per dtype.

    \b
    Examples:
      xlir-bench profile
      xlir-bench profile --model out/final --task xquad-r --dims 256,128 \\
        --index SQ8 --index HNSW32
      xlir-bench profile --model out/final --dtype float32,bfloat16 \\
        --device cuda --json
      xlir-bench profile --model out/final --dims 256,128,64 --depth 10 \\
        --plot cost.png
    """
    from xlir_bench.encoders import describe
    from xlir_bench.evaluation import load_models, measure_cost, settings_asked
    from xlir_bench.evaluation.saving import Asked, Evaluations
    from xlir_bench.reports.cost import cost_blocks
    from xlir_bench.reports.tables import heading
    from xlir_bench.retrieval.vector_retrievers import compared

    (chosen,) = data.catalogue().get([task], options.langs)
    settings_asked(chosen, options)
    if plot is not None:
        _check_picture(plot)
    with Bars(quiet) as bars:
        models = load_models(chosen, model, cost_options, options, encoder_options, bars)
        encoder = models[0].encoder
        slug = compared(describe(encoder), models[0].similarity).slug
        evaluations = Evaluations(options, output, canonical_command(), bars, teller(quiet))
        result = _stored(evaluations.folder(slug, chosen), encoder, chosen, options)
        if result is None:
            result = evaluations.result(Asked(encoder, chosen, encoder_options))
        cost = measure_cost(chosen, models, cost_options, options, bars, evaluations.command)
    result = result.with_cost(cost).save(result.folder or output)
    if plot is not None:
        from xlir_bench.reports.plots import draw_cost, save

        save(draw_cost([result.record]), plot, 200)
    described = result.record.encoder
    names = {"task": chosen.name, "encoder": described.name, "slug": described.slug}
    record = names | cost.model_dump(mode="json")
    say_report(as_json, record, [heading(result.record), *cost_blocks(cost)], form)
    if not as_json:
        say(f"\nwritten to {result.folder}")
    if plot is not None and not as_json:
        say(f"written to {plot}")


def _stored(folder: Path, encoder: Encoder, task: Task, options: RunOptions) -> Result | None:
    """The stored result, if it is of this encoder, this task and the data as it is now."""
    from xlir_bench.encoders import describe
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
    return result if same == (describe(encoder).fingerprint, task.digest, now) else None


def _check_picture(path: Path) -> None:
    """Fail before minutes of work, not after."""
    from xlir_bench.rendering.canvas import require_format, style

    require_format(path, "--plot")
    require_writable(path.parent, "name another file with --plot")
    with style():
        pass
