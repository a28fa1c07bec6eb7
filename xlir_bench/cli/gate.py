"""`xlir-bench gate`: pass or fail a candidate against a baseline."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xlir_bench.cli.options import (
    FOLDER,
    canonical_command,
    data_option,
    flags_of,
    tasks_dir_option,
    verbose_option,
)
from xlir_bench.cli.terminal import say, say_blocks, say_json
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import RunOptions
from xlir_bench.options.stating import build, options_of

if TYPE_CHECKING:
    from xlir_bench.encoders import Encoder
    from xlir_bench.reports.gate import Verdict
    from xlir_bench.reports.policy import Policy
    from xlir_bench.results import Result
    from xlir_bench.results.schema import EncoderPart


@click.command()
@click.option(
    "--baseline", type=FOLDER, metavar="RESULT", help="A result folder, or its result.json."
)
@click.option(
    "--candidate",
    metavar="RESULT|SPEC",
    help="A result folder, its result.json, or a model (as for run), which is then evaluated.",
)
@click.option(
    "--policy",
    "policy_file",
    type=FOLDER,
    metavar="FILE",
    help="Rules, as TOML.  [default: --print-policy]",
)
@click.option(
    "--print-policy", is_flag=True, help="Print the default policy, with what it means, and end."
)
@click.option(
    "--plan",
    is_flag=True,
    help="Say what a gate could see, from the spread of --baseline and --like.",
)
@click.option(
    "--like",
    type=FOLDER,
    metavar="RESULT",
    help="For --plan: a result that differs from the baseline as candidates will.",
)
@click.option("--junit", type=FOLDER, metavar="FILE", help="Write the verdict as JUnit XML too.")
@click.option(
    "--json", "as_json", is_flag=True, help="The verdict on stdout as JSON, and nothing else."
)
@click.option(
    "--update-baseline", is_flag=True, help="On a pass, put the candidate in the baseline's place."
)
@click.option(
    "--reason", metavar="TEXT", help="Why the baseline is replaced: a line for its history."
)
@click.option(
    "--output",
    type=FOLDER,
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Where the result of a model goes.",
)
@flags_of(EncoderOptions, only=("device", "http_body"))
@flags_of(RunOptions, only=("offline", "max_download"))
@data_option
@tasks_dir_option
@verbose_option
def gate(
    baseline: Path | None,
    candidate: str | None,
    policy_file: Path | None,
    print_policy: bool,
    plan: bool,
    like: Path | None,
    junit: Path | None,
    as_json: bool,
    update_baseline: bool,
    reason: str | None,
    **stated: Any,
) -> int:
    """Say whether a candidate is worse than the baseline, by the rules of a policy.

    FAIL: a loss is larger than allowed and too large for chance (one-sided, by clusters, Holm over all
    tests of the policy). PASS: what decides (by default the mean of each kind of setting, and the rank
    distance) lost no more than allowed, with 95 % certainty. UNDECIDED: neither is shown; then it says
    how large a loss would have been found. Exit: 0 pass, or undecided (1 if the policy says so), 1 fail,
    2 bad input, 3 not comparable.

    \b
    Examples:
      xlir-bench gate --baseline baselines/mini --candidate results/mine/mini
      xlir-bench gate --baseline baselines/xquad-r --candidate out/checkpoint-2000 --policy gate.toml
      xlir-bench gate --print-policy > gate.toml
      xlir-bench gate --plan --baseline results/a/mini --like results/b/mini
      xlir-bench gate --baseline B --candidate C --update-baseline --reason "new tokenizer"

    In GitHub Actions the verdict is added to the job's summary.
    """
    from xlir_bench.errors import InputError
    from xlir_bench.files import require_writable
    from xlir_bench.reports import gate as reports
    from xlir_bench.reports.baseline import read_history, sunk
    from xlir_bench.reports.policy import DEFAULT_POLICY

    if print_policy:
        say(DEFAULT_POLICY, nl=False)
        return 0
    if plan:
        return _plan(baseline, like, policy_file, as_json)
    if baseline is None or candidate is None:
        raise InputError("gate wants --baseline RESULT and --candidate RESULT, or a model")
    if update_baseline and not (reason or "").strip():
        raise InputError("--update-baseline wants a --reason: one line for its history")
    old, policy = _held_to(baseline, policy_file)
    if junit is not None:
        require_writable(junit.parent, "name another file with --junit")
    new = _candidate(candidate, old, stated)
    verdict = reports.gate(old, new, policy)
    notes = sunk(read_history(old.folder), new, policy)
    verdict = replace(verdict, notes=(*verdict.notes, *notes))
    _tell(verdict, junit, as_json)
    if update_baseline:
        _update(old, new, verdict, reason or "")
    return verdict.exit_code


def _held_to(baseline: Path, policy_file: Path | None) -> tuple[Result, Policy]:
    """The baseline, and the policy of the file; faults of the file are told before a result is read."""
    from xlir_bench.reports.policy import default_policy, read_policy
    from xlir_bench.results import Result

    policy = None if policy_file is None else read_policy(policy_file)
    old = Result.load(baseline)
    return old, policy or default_policy(old.record.main_measure)


def _plan(baseline: Path | None, like: Path | None, policy_file: Path | None, as_json: bool) -> int:
    """What each rule would see of candidates that differ from the baseline as this one does."""
    from xlir_bench.errors import InputError
    from xlir_bench.reports.gate import gate as judged
    from xlir_bench.reports.gate_text import plan_blocks, plan_record
    from xlir_bench.results import Result

    if baseline is None or like is None:
        raise InputError("gate --plan wants --baseline RESULT and --like RESULT")
    old, policy = _held_to(baseline, policy_file)
    found = judged(old, Result.load(like), policy)
    if as_json:
        say_json(plan_record(found), indent=1)
    else:
        say_blocks(plan_blocks(found))
    return 0


def _candidate(spec: str, baseline: Result, stated: dict[str, Any]) -> Result:
    """The stored result of this name, else that of the model of this name, evaluated now."""
    from xlir_bench.errors import InputError
    from xlir_bench.results import Result
    from xlir_bench.results.store import RESULT_FILE

    path = Path(spec)
    if path.name.endswith(".json") or (path / RESULT_FILE).is_file():
        return Result.load(path)
    if nested := sorted([*path.glob(f"*/{RESULT_FILE}"), *path.glob(f"*/*/{RESULT_FILE}")]):
        raise InputError(
            f"{path} is no result but holds {len(nested)}; name one, such as {nested[0].parent}"
        )
    return _evaluated(spec, baseline, stated)


def _evaluated(spec: str, baseline: Result, stated: dict[str, Any]) -> Result:
    """The model of this spec on the task of the baseline, with its options."""
    from xlir_bench.cli.progress import Bars
    from xlir_bench.cli.run import resolved
    from xlir_bench.encoders import describe
    from xlir_bench.errors import NotComparableError
    from xlir_bench.evaluation import evaluate
    from xlir_bench.files import require_writable
    from xlir_bench.places import data_root
    from xlir_bench.results import result_folder
    from xlir_bench.results.store import REMEDY, folder_of_data
    from xlir_bench.tasks import catalogue

    record, asked = baseline.record, baseline.record.options
    task = catalogue(*stated["tasks_dirs"]).get([record.task.name])[0]
    if task.digest != record.task.digest:
        raise NotComparableError(
            f"the baseline is of another version of {task.name} than this xlir-bench has;"
            f" make it again: xlir-bench run --task {task.name}"
        )
    said = {o.name: getattr(asked, o.name) for o in options_of(RunOptions) if o.about.partial}
    said = {k: tuple(v) or None if isinstance(v, list) else v for k, v in said.items()}
    given = {name: stated[name] for name in ("offline", "max_download")}
    given |= {"data": data_root(stated["data"]), "allow_changed_data": bool(asked.changed_data)}
    options = build(RunOptions, said | given)
    how = _as_the_baseline(spec, record.encoder, stated)
    (encoder,) = resolved([spec], how)
    for line in _run_otherwise(record.encoder, encoder):
        say(line, err=True)
    part = options.part(task)
    folder = result_folder(stated["output"], describe(encoder).slug, task.name, part)
    require_writable(folder, REMEDY)
    with Bars() as bars:
        found = evaluate(
            task,
            encoder,
            options,
            encoder_options=how,
            progress=bars,
            command=canonical_command(),
        )
    return found.save(folder_of_data(folder, found.record))


def _as_the_baseline(spec: str, baseline: EncoderPart, stated: dict[str, Any]) -> EncoderOptions:
    """The options that the baseline's encoder was loaded with, as far as they mean something to this one.

    A revision is of one model alone, and no file decides that code of a model may run.
    """
    asked = baseline.options
    said = {} if asked is None else asked.model_dump(exclude={"trust_remote_code"})
    if spec != baseline.name:
        said.pop("revision", None)
    given = {name: stated[name] for name in ("offline", "http_body")}
    return build(EncoderOptions, said | given | {"device": stated["device"] or said.get("device")})


def _run_otherwise(baseline: EncoderPart, encoder: Encoder) -> list[str]:
    """What makes the candidate run in another way than the baseline ran, a line each."""
    from xlir_bench.encoders import describe

    card, asked = describe(encoder), baseline.options
    pairs = {
        "query prompt": (baseline.query_prompt, card.query_prompt),
        "passage prompt": (baseline.passage_prompt, card.passage_prompt),
        "dtype": (baseline.dtype, card.dtype),
        "length in tokens": (baseline.max_tokens, card.max_tokens),
        "device": (baseline.device, getattr(encoder, "device", None)),
    }
    told = [f"{what}: {a!r} against {b!r}" for what, (a, b) in pairs.items() if a != b]
    if asked is None:
        told.append("options of the baseline's encoder: not recorded, its result is of before")
    elif asked.revision is not None and encoder.name != baseline.name:
        told.append(f"revision: {asked.revision!r} is of the baseline's model")
    if asked is not None and asked.trust_remote_code:
        told.append("--trust-remote-code: run the candidate with it first, and name its result")
    return [f"baseline and candidate differ in {line}" for line in told]


def _tell(verdict: Verdict, junit: Path | None, as_json: bool) -> None:
    """The verdict to whoever asked for it: the terminal, a program, a build server."""
    from xlir_bench.files import explained, write
    from xlir_bench.reports.document import render
    from xlir_bench.reports.gate_text import junit_xml, verdict_blocks

    if as_json:
        say_json(verdict.to_record(), indent=1)
    else:
        say_blocks(verdict_blocks(verdict))
    if junit is not None:
        with explained(junit, "name another file with --junit"):
            write(junit, junit_xml(verdict))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render(verdict_blocks(verdict), "markdown") + "\n\n")
        except OSError as error:
            # The verdict stands whether or not the build server shows it.
            say(f"the job's summary cannot be written: {error.strerror}", err=True)


def _update(old: Result, new: Result, verdict: Verdict, reason: str) -> None:
    from xlir_bench.reports.baseline import HISTORY, update_baseline

    if not verdict.passed:
        say("the baseline stays: only a candidate that passes takes its place", err=True)
        return
    folder = update_baseline(old, new, verdict, reason)
    say(f"baseline {folder} replaced; {folder / HISTORY} says why", err=True)
