"""`xlir-bench gate`: pass or fail a candidate against a baseline."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from xlir_bench.cli.command import JSON, OUTPUT_DIR, canonical_command, command
from xlir_bench.cli.terminal import Bars, say, say_report, teller, warn
from xlir_bench.errors import InputError, NotComparableError, UnknownNameError, named_by, plural
from xlir_bench.escaping import visible
from xlir_bench.files import explained, removing_empty, require_writable, write
from xlir_bench.options.encoding import EncoderOptions, LoadOptions
from xlir_bench.options.running import DataOptions, RunOptions
from xlir_bench.options.stating import OUTPUT, option, options_of
from xlir_bench.rendering.document import render

if TYPE_CHECKING:
    from xlir_bench.reports.gate import Verdict
    from xlir_bench.reports.policy import Policy
    from xlir_bench.results import Result
    from xlir_bench.results.schema import EncoderPart
    from xlir_bench.retrieval import Retriever
    from xlir_bench.tasks import Task

COMPARED, RULES = "Baseline and candidate", "Rules"


@command()
def gate(
    *,
    baseline: Path | None = option(
        "The folder of a result, its result.json, or a folder with results of several tasks.",
        None, group=COMPARED, metavar="RESULT",
    ),
    candidate: str | None = option(
        "A result, as for --baseline, or a model, as for `run`, which is then evaluated.",
        None, group=COMPARED, metavar="RESULT|SPEC",
    ),
    only: tuple[str, ...] = option(
        "Only the baseline of this task; with --first, a task to evaluate the model on; may be given again.",
        (), group=COMPARED, flag="task", metavar="TASK", many=True,
    ),
    first: bool = option(
        "Save the candidate as the first baseline.", False, group=COMPARED
    ),
    update_baseline: bool = option(
        "If the candidate passes, replace the baseline by it.", False, group=COMPARED
    ),
    reason: str | None = option(
        "Why the baseline is replaced: a line for its history.", None, group=COMPARED, metavar="TEXT"
    ),
    policy_file: Path | None = option(
        "The rules, as a TOML file.  [default: see --print-policy]", None, group=RULES, flag="policy", metavar="FILE"
    ),
    print_policy: bool = option(
        "Print the default policy with explanations, and exit.", False, group=RULES
    ),
    plan: bool = option(
        "Say how large a loss each rule could find, from the spread between --baseline and --like.", False, group=RULES
    ),
    like: Path | None = option(
        "For --plan: a result that differs from the baseline about as much as candidates will.",
        None, group=RULES, metavar="RESULT",
    ),
    junit: Path | None = option(
        "Write the verdict as JUnit XML, too.", None, group=OUTPUT, metavar="FILE"
    ),
    as_json: bool = JSON,
    output: Path = OUTPUT_DIR,
    data: Annotated[DataOptions, ("tasks_dirs",)],
    options: Annotated[RunOptions, ("data", "lexicon", "max_download", "offline")],
    encoder_options: Annotated[EncoderOptions, ("device", "http_body", "offline")],
) -> int:  # fmt: skip
    """Say whether a candidate is worse than the baseline, by the rules of a policy.

    FAIL: a loss is larger than allowed and significant (one-sided tests by clusters, with Holm's correction
    over all tests of the policy). PASS: with 95 % certainty, no deciding figure (by default the mean of each
    kind of setting, and the rank distance) lost more than allowed. UNDECIDED: neither is shown; the gate
    then says how large a loss it would have found. With several tasks the worst verdict counts. Exit codes:
    0 pass, or undecided (1 if the policy says so), 1 fail, 2 bad input, 3 not comparable.

    \b
    Examples:
      xlir-bench gate --first --baseline baselines --candidate out/final \\
        --task mini --task xquad-r
      xlir-bench gate --baseline baselines --junit gate.xml \\
        --candidate out/checkpoints/checkpoint-2000
      xlir-bench gate --baseline baselines/mini --candidate results/mine/mini
      xlir-bench gate --baseline baselines/xquad-r \\
        --candidate out/checkpoints/checkpoint-2000 --policy gate.toml
      xlir-bench gate --print-policy > gate.toml
      xlir-bench gate --plan --baseline results/a/mini --like results/b/mini
      xlir-bench gate --baseline B --candidate C --update-baseline \\
        --reason "new tokenizer"

    In GitHub Actions the verdict is added to the job's summary, and is the step's output `verdict`; the output
    `path` is the folder of the candidate's result.
    """
    from xlir_bench.reports import gate as reports
    from xlir_bench.reports.policy import DEFAULT_POLICY
    from xlir_bench.results.baseline import HISTORY, read_history
    from xlir_bench.results.baseline import update_baseline as replace_baseline

    if print_policy:
        say(DEFAULT_POLICY, nl=False)
        return 0
    if plan:
        return _plan(baseline, like, policy_file, as_json)
    if baseline is None or candidate is None:
        raise InputError("gate wants --baseline RESULT and --candidate RESULT, or a model")
    how = _Evaluating(output, data, options, encoder_options)
    if first:
        return _first(baseline, candidate, only, how)
    why = (reason or "").strip()
    if update_baseline and not why:
        raise InputError("--update-baseline wants a --reason: one line for its history")
    folders = _baselines(baseline, only)
    rules = [_baseline_and_policy(folder, policy_file) for folder in folders]
    if junit is not None:
        require_writable(junit.parent, "name another file with --junit")
    judged = []
    for folder, (old, policy) in zip(folders, rules, strict=True):
        new = _stored(candidate, None if folder == baseline else old)
        new = how.evaluated(candidate, old) if new is None else new
        if (new.folder or folder).resolve() == (old.folder or folder).resolve():
            warn(f"{new.folder} is compared with itself: it is the candidate and the baseline")
        verdict = reports.gate(old, new, policy)
        notes = reports.accumulated_losses(read_history(old.folder), new, policy)
        judged.append((old, new, replace(verdict, notes=(*verdict.notes, *notes))))
    verdicts = [verdict for *_, verdict in judged]
    _report(verdicts, junit, as_json, alone=folders == [baseline])
    _tell_github(verdicts, [new for _, new, _ in judged])
    if update_baseline and all(verdict.passed for verdict in verdicts):
        for old, new, verdict in judged:
            folder = replace_baseline(old, new, verdict, why)
            say(f"baseline {folder} replaced; {folder / HISTORY} says why", err=True)
    elif update_baseline:
        say("the baseline stays: only a candidate that passes takes its place", err=True)
    return max(verdict.exit_code for verdict in verdicts)


def _baselines(path: Path, tasks: Sequence[str]) -> list[Path]:
    """The folder `path` if it is a baseline, else the folders of the tasks' baselines in it."""
    from xlir_bench.results.store import RESULT_FILE

    if path.is_file() or (path / RESULT_FILE).is_file():
        if tasks:
            raise InputError(f"--task chooses among several baselines, and {path} is one")
        return [path]
    folders = {file.parent.name: file.parent for file in sorted(path.glob(f"*/{RESULT_FILE}"))}
    if not folders:
        raise InputError(
            f"{path} holds no baseline; make the first with xlir-bench gate --first --baseline {path}"
            " --candidate RESULT, or --candidate MODEL --task TASK"
        )
    if unknown := [task for task in tasks if task not in folders]:
        raise UnknownNameError(f"task in {path}", unknown, folders)
    return [folder for task, folder in folders.items() if not tasks or task in tasks]


def _first(baseline: Path, candidate: str, tasks: tuple[str, ...], how: _Evaluating) -> int:
    """Save the candidate as the baseline; for a model and several tasks, each in a folder of its own."""
    stored = _stored(candidate)
    if (stored is None) == (not tasks):
        raise InputError(
            f"--first wants --task TASK: a task to evaluate {candidate} on"
            if stored is None
            else "--task is for a model, and the candidate is a result: leave it out"
        )
    chosen = how.data.catalogue().get(tasks) if tasks else []
    folders = [baseline / task.name for task in chosen] if len(chosen) > 1 else [baseline]
    for folder in folders:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty: --update-baseline replaces a baseline")
        require_writable(folder, "name another folder with --baseline")
    runs = (how.run(candidate, task) for task in chosen)
    for folder, result in zip(folders, runs if stored is None else [stored], strict=True):
        result.save(folder, tables=("ranks",))
        say(f"{folder} is the first baseline of {result.record.task.name}; keep it in Git")
    return 0


def _baseline_and_policy(baseline: Path, policy_file: Path | None) -> tuple[Result, Policy]:
    """Read both; the policy first, so that its faults are reported before a result is read."""
    from xlir_bench.reports.policy import default_policy, read_policy
    from xlir_bench.results import Result

    policy = None if policy_file is None else read_policy(policy_file)
    old = Result.load(baseline)
    return old, policy or default_policy(old.record.main_measure)


def _plan(baseline: Path | None, like: Path | None, policy_file: Path | None, as_json: bool) -> int:
    """Print how large a loss each rule could find in candidates that differ from the baseline as `like` does."""
    from xlir_bench.reports.gate import gate as verdict_on
    from xlir_bench.reports.gate_text import plan_blocks, plan_record
    from xlir_bench.results import Result

    if baseline is None or like is None:
        raise InputError("gate --plan wants --baseline RESULT and --like RESULT")
    old, policy = _baseline_and_policy(baseline, policy_file)
    verdict = verdict_on(old, Result.load(like), policy)
    say_report(as_json, plan_record(verdict), plan_blocks(verdict))
    return 0


def _stored(name: str, old: Result | None = None) -> Result | None:
    """The stored result at this path, or None for a model; of several in the folder, that of `old`'s task and part."""
    from xlir_bench.results import Result
    from xlir_bench.results.frame import named
    from xlir_bench.results.store import RESULT_FILE

    path = Path(name)
    if path.name.endswith(".json") or (path / RESULT_FILE).is_file():
        return Result.load(path)
    if old is not None and old.folder is not None:
        if (path / old.folder.name / RESULT_FILE).is_file():
            return Result.load(path / old.folder.name)
        # A run and its export name the folder of a part differently.
        results = [Result.load(file.parent) for file in sorted(path.glob(f"*/{RESULT_FILE}"))]
        same = [result for result in results if named(result.record) == named(old.record)]
        if len(same) == 1:
            return same[0]
    if nested := sorted([*path.glob(f"*/{RESULT_FILE}"), *path.glob(f"*/*/{RESULT_FILE}")]):
        wanted = "name one" if old is None else f"none is of {named(old.record)}; name a folder"
        raise InputError(
            f"{path} has {plural(len(nested), 'result')}; {wanted}, such as {nested[0].parent}"
        )
    return None


@dataclass(frozen=True)
class _Evaluating:
    """How a candidate that is a model is evaluated."""

    output: Path
    data: DataOptions
    options: RunOptions
    encoder_options: EncoderOptions

    def evaluated(self, spec: str, baseline: Result) -> Result:
        """The model of this spec on the task of the baseline, with the baseline's options."""
        record, old_options = baseline.record, baseline.record.options
        try:
            (task,) = self.data.catalogue().get([record.task.name])
        except UnknownNameError:
            raise InputError(
                f"the baseline is of {record.task.name!r}, and no task has that name: evaluate the candidate on the"
                " same data with xlir-bench run, and give its result; or name the task's folder with --tasks-dir"
            ) from None
        if task.digest != record.task.digest:
            raise NotComparableError(
                f"the baseline is of another version of {task.name}: make it again with xlir-bench run --task {task.name}"
            )
        options = old_options.asked_again(self.options)
        if old_options.word_lists not in (None, options.word_lists_digest):
            raise NotComparableError("the baseline had other word lists: name them with --lexicon")
        encoder_options = _as_the_baseline(spec, record.encoder, self.encoder_options)
        alike = replace(self, options=options, encoder_options=encoder_options)
        return alike.run(spec, task, baseline)

    def run(self, spec: str, task: Task, old: Result | None = None) -> Result:
        """Evaluate a model and save the result; prints how it is run differently from the baseline."""
        from xlir_bench.evaluation.saving import Asked, Evaluations, resolved

        with named_by("--candidate"):
            (retriever,) = resolved([spec], self.encoder_options, self.options)
        old_folder = None if old is None else old.folder
        for line in [] if old is None else _differences(old.record.encoder, retriever):
            say(f"baseline and candidate differ in {line}", err=True)
        with Bars() as bars:
            how = Evaluations(
                self.options, self.output, canonical_command(), bars, teller(), spared=old_folder
            )
            folder = how.folder(retriever.card.slug, task)
            with removing_empty([folder, folder.parent]):
                result = how.result(Asked(retriever, task, self.encoder_options))
        say(f"written to {result.folder}", err=True)
        return result


def _as_the_baseline(spec: str, baseline: EncoderPart, options: EncoderOptions) -> EncoderOptions:
    """`options`, with the baseline encoder's load options as far as they apply to this one.

    Left out are the revision, if the model is another, and `trust_remote_code`: no file may allow a model's code to run.
    """
    loaded = baseline.options
    if loaded is None:
        return options
    same = {o.name: getattr(loaded, o.name) for o in options_of(LoadOptions) if o.decides}
    if spec != _first_model(baseline):
        del same["revision"]
    return replace(options, **same, device=options.device or loaded.device)


def _first_model(baseline: EncoderPart) -> str:
    """The name of the model itself, without its transform, the model fused with it, and its reranker."""
    name = re.split(r" [|+>] ", baseline.name)[0]
    weights = None if baseline.options is None else baseline.options.fuse_weights
    return name.removeprefix(f"{weights[0]:g} ") if weights else name


def _differences(baseline: EncoderPart, candidate: Retriever) -> list[str]:
    """What makes the candidate run differently from the baseline."""
    card, loaded = candidate.card, baseline.options
    pairs = {
        "query prompt": (baseline.query_prompt, card.query_prompt),
        "passage prompt": (baseline.passage_prompt, card.passage_prompt),
        "dtype": (baseline.dtype, card.dtype),
        "length in tokens": (baseline.max_tokens, card.max_tokens),
        "reranker": (baseline.reranker, card.reranker),
        "transform": (baseline.transform, card.transform),
        "device": (baseline.device, candidate.device),
        "similarity": (baseline.similarity or card.similarity, card.similarity),
    }
    differences = [f"{what}: {a!r} against {b!r}" for what, (a, b) in pairs.items() if a != b]
    if loaded is None:
        return [*differences, "options of the encoder: not recorded in the older baseline"]
    if loaded.revision is not None and card.name != baseline.name:
        differences.append(f"revision: {loaded.revision!r} is of the baseline's model")
    if loaded.trust_remote_code:
        differences.append("--trust-remote-code: run the candidate with it, and name its result")
    return differences


def _report(verdicts: Sequence[Verdict], junit: Path | None, as_json: bool, alone: bool) -> None:
    """Print the verdicts as tables or JSON, and write the JUnit file."""
    from xlir_bench.reports.gate_text import junit_xml, verdict_blocks, worst

    records = [verdict.to_record() for verdict in verdicts]
    passed = all(verdict.passed for verdict in verdicts)
    of_all = {"verdict": worst(verdicts).value, "passed": passed, "verdicts": records}
    blocks = [block for verdict in verdicts for block in verdict_blocks(verdict)]
    say_report(as_json, records[0] if alone else of_all, blocks)
    if junit is not None:
        with explained(junit, "name another file with --junit"):
            write(junit, junit_xml(verdicts))


def _tell_github(verdicts: Sequence[Verdict], candidates: Sequence[Result]) -> None:
    """In GitHub Actions: add the verdicts to the job's summary, and set the outputs of the step."""
    from xlir_bench.reports.gate_text import verdict_blocks, worst

    folders = [str(result.folder) for result in candidates]
    outputs = {"verdict": worst(verdicts).value, "path": visible(os.path.commonpath(folders))}
    texts = {
        "GITHUB_STEP_SUMMARY": "".join(
            render(verdict_blocks(verdict), "markdown") + "\n\n" for verdict in verdicts
        ),
        "GITHUB_OUTPUT": "".join(f"{name}={value}\n" for name, value in outputs.items()),
    }
    for variable, text in texts.items():
        if path := os.environ.get(variable):
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                # The verdict stands whether or not the build server shows it.
                warn(f"{variable} names {path}, which cannot be written: {error.strerror}")
