"""Workers on a real Ray cluster of two nodes, both on this machine; one cluster serves all of this file."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from executor.jobs import Ending, Squares, asked, processes
from retrieval.test_embedding import Told

from xlir_bench import objectstore
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError, XlirError
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.executor import LOCAL, Executor, opened
from xlir_bench.experiment import find_recipe
from xlir_bench.experiment.running import Trainings
from xlir_bench.recipe import Recipe
from xlir_bench.records import Progress, Silent
from xlir_bench.reports.experiment.stored import read_experiment
from xlir_bench.results import Result
from xlir_bench.retrieval import embedding, vector_index
from xlir_bench.shardfile import mapped
from xlir_bench.tasks import catalogue

cluster = pytest.importorskip(
    "xlir_bench.executor.cluster", reason="Ray is not installed: pip install 'xlir-bench[ray]'"
)
ENCODERS = Path(__file__).with_name("encoders.py")
CLAIM = {
    "text": "It helps",
    "better": "hybrid",
    "than": "untrained",
    "task": "mini",
    "kind": "monolingual",
}
REDUCED = {
    "steps": 1, "seeds": [0], "strategies": ["hybrid"], "baselines": ["untrained"], "look": None, "claims": [CLAIM],
    "parts": {"mini": {"langs": ["de", "en"]}},
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster with a head of one processor and another node of one; it wants a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("XLIR_CACHE", str(tmp_path_factory.mktemp("cache")))
        # Workers import the jobs of these tests.
        here = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
        from ray.cluster_utils import Cluster

        two = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        two.add_node(num_cpus=1)
        yield two
        two.shutdown()


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def executor(nodes: Any, told: list[str]) -> Iterator[Executor]:
    with opened(f"ray:{nodes.address}", tell=told.append) as executor:
        yield executor


@pytest.fixture
def cache(nodes: Any) -> Path:
    """The one that workers know of."""
    return Path(os.environ["XLIR_CACHE"])


def numbers(*values: int) -> Iterator[tuple[str, int]]:
    return ((f"number {value}", value) for value in values)


def test_every_unit_is_done_once_by_one_worker_a_node(executor: Executor, tmp_path: Path) -> None:
    done = list(executor.run(Squares(tmp_path, together=2), numbers(*range(6))))
    assert {each.name: each.result() for each in done} == {f"number {n}": n * n for n in range(6)}
    assert sorted(asked(tmp_path)) == list(range(6))
    assert all(len(each) == 1 for each in asked(tmp_path).values())
    assert len(processes(tmp_path)) == executor.workers == 2
    assert sum(executor.kinds.values()) == 2
    (kind,) = executor.kinds
    assert "xlir-bench" in kind


def test_errors_of_a_worker_are_this_projects_and_hold_up_no_other_unit(
    executor: Executor, tmp_path: Path
) -> None:
    job = Squares(tmp_path, wrong=1, unknown=2)
    done = {each.name: each for each in executor.run(job, numbers(1, 2, 3))}
    assert done["number 3"].result() == 9
    with pytest.raises(XlirError, match=r"^ZeroDivisionError: of a number \(.*worker") as wrong:
        done["number 1"].result()
    assert wrong.value.exit_code == 4
    with pytest.raises(XlirError, match=r"'sevn'.*'seven'") as unknown:
        done["number 2"].result()
    assert unknown.value.exit_code == 2
    assert "in square" in unknown.value.__notes__[0]


def test_what_cannot_be_opened_is_told_at_once(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(XlirError, match=r"'ngran'.*'ngram'"):
        list(executor.run(Squares(tmp_path, cannot_open=True), numbers(1)))


def test_the_unit_of_a_killed_worker_is_done_again(
    executor: Executor, tmp_path: Path, told: list[str]
) -> None:
    done = list(executor.run(Squares(tmp_path, once=2), numbers(1, 2, 3, 4)))
    assert sorted(each.result() for each in done) == [1, 4, 9, 16]
    assert len(set(asked(tmp_path)[2])) == 2
    assert told[-1].endswith("again: number 2")


def test_a_unit_that_ends_every_worker_is_given_up_by_name(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "MOST_DEATHS", 2)
    done = {e.name: e for e in executor.run(Squares(tmp_path, fatal=2), numbers(1, 2, 3))}
    assert done["number 1"].result() + done["number 3"].result() == 10
    with pytest.raises(XlirError, match=r"^number 2: .*ended 2 workers"):
        done["number 2"].result()
    assert len(set(asked(tmp_path)[2])) == 2


def test_an_interrupt_ends_what_is_being_done_and_the_next_job_begins(
    executor: Executor, tmp_path: Path
) -> None:
    run = executor.run(Squares(tmp_path, seconds=1.0), numbers(*range(100)))
    next(run)
    run.close()
    begun = len(asked(tmp_path))
    assert [each.result() for each in executor.run(Squares(tmp_path), numbers(7))] == [49]
    assert len(asked(tmp_path)) <= begun + 2 < 100


QUICK = RunOptions(langs=("de", "en"), save_run=20)


def evaluated(
    spec: str, cache: Path, executor: Executor = LOCAL, progress: Progress | None = None
) -> Result:
    options = replace(QUICK, cache=cache)
    return evaluate("mini", spec, options, executor=executor, progress=progress)


def same(result: Result, other: Result) -> bool:
    """Ranks, and the best passages with their scores, to the bit."""
    return all(result.tables[name].equals(other.tables[name]) for name in ("ranks", "run"))


def kept_vectors(cache: Path) -> dict[tuple[str, bytes], bytes]:
    """The vector of each text, by role and key."""
    found = {}
    for path in cache.rglob("*.safetensors"):
        shard = mapped(path)
        for key, vector in zip(shard["keys"], shard["vectors"], strict=True):
            found[path.parent.name, key.tobytes()] = vector.tobytes()
    return found


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a small corpus is kept on disk, is encoded in several parts, and is searched in several spans."""
    monkeypatch.setattr(embedding, "IN_MEMORY", 10)
    monkeypatch.setattr(embedding, "FEW_TEXTS", 30)
    monkeypatch.setattr(vector_index, "BLOCK", 50)
    monkeypatch.setattr(vector_index, "PIECE", 50)


@dataclass
class Naming:
    """An executor that notes the units it is given."""

    executor: Executor
    names: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def run(self, job: Any, units: Any) -> Iterator[Any]:
        for done in self.executor.run(job, units):
            self.names.append(done.name)
            yield done


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize(
    "spec", ["builtin:ngram", "builtin:multilingual", f"py:{ENCODERS}:vectors"]
)
def test_vectors_ranks_ties_and_best_lists_are_those_of_one_process(
    executor: Executor, tmp_path: Path, spec: str
) -> None:
    alone = evaluated(spec, tmp_path / "here")
    naming = Naming(executor)
    shared = evaluated(spec, tmp_path / "there", naming)
    assert same(alone, shared)
    for what in ("query texts", "passage texts", "search of de", "search of en"):
        assert sum(name.startswith(what) for name in naming.names) > 1
    assert kept_vectors(tmp_path / "here") == kept_vectors(tmp_path / "there")
    assert shared.record.summary == alone.record.summary
    assert shared.record.profile.encoded_texts == alone.record.profile.encoded_texts > 400
    assert sum((shared.record.environment.workers or {}).values()) >= 1
    assert alone.record.environment.workers is None
    assert shared.record.encoder == alone.record.encoder
    assert shared.record.options == alone.record.options
    again = evaluated(spec, tmp_path / "there")
    assert same(alone, again)
    assert again.record.profile.encoded_texts == 0


@pytest.mark.usefixtures("on_disk")
def test_vectors_that_nobody_keeps_give_the_ranks_of_one_process(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 40)
    naming = Naming(executor)
    spec, options = f"py:{ENCODERS}:vectors", replace(QUICK, cache=tmp_path / "there")
    passed = evaluate("mini", spec, replace(options, keep_vectors=False), executor=naming)
    assert same(evaluated(spec, tmp_path / "here"), passed)
    for what in ("query texts", "judged texts", "search of de", "search of en"):
        assert sum(name.startswith(what) for name in naming.names) > 1
    assert not list((tmp_path / "there").rglob("passage/*"))


# Ten seconds for a node: Ray waits before it takes one for dead, and another has to start.
@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("what", ["worker", "node"])
def test_what_is_killed_in_the_middle_of_a_unit_changes_nothing(
    nodes: Any, executor: Executor, told: list[str], tmp_path: Path, what: str
) -> None:
    import ray

    def end(process: int) -> None:
        if what == "worker":
            os.kill(process, signal.SIGKILL)
            return
        (other,) = nodes.worker_nodes
        nodes.remove_node(other, allow_graceful=False)

    def mend() -> None:
        if not nodes.worker_nodes:
            nodes.add_node(num_cpus=1)

    spared = ray.get_runtime_context().get_node_id() if what == "node" else ""
    ending, before = Ending(executor, tmp_path / "wanted", end, spared, mend), len(told)
    result = evaluated(f"py:{ENCODERS}:vectors", tmp_path / "there", ending)
    assert ending.ended == 2
    again = [line for line in told[before:] if "again: " in line]
    assert [line.rpartition(": ")[2].split()[1:2] for line in again] == [["texts"], ["of"]]
    assert same(result, evaluated(f"py:{ENCODERS}:vectors", tmp_path / "here"))


@pytest.mark.usefixtures("on_disk")
def test_workers_on_other_machines_share_an_object_store(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _app: tmp_path / "machine")
    staged = objectstore.staging(f"file://{tmp_path}/store")

    class Apart(Naming):
        """Nobody finds here what another one has staged."""

        def run(self, job: Any, units: Any) -> Iterator[Any]:
            forget()
            for done in super().run(job, units):
                if "texts" in done.name:
                    forget()
                yield done

    def forget() -> None:
        for shard in staged.rglob("*.safetensors"):
            shard.unlink()

    naming, spec = Apart(executor), f"py:{ENCODERS}:vectors"
    shared = evaluated(spec, staged, naming)
    assert {name.split()[1] for name in naming.names} == {"texts", "of"}
    assert same(shared, evaluated(spec, tmp_path / "here"))
    forget()
    again = evaluated(spec, staged)
    assert again.record.profile.encoded_texts == 0
    assert same(again, shared)


@pytest.mark.usefixtures("on_disk")
def test_after_an_interrupt_the_same_command_goes_on(executor: Executor, tmp_path: Path) -> None:
    class Interrupting(Silent):
        def advance(self, count: int) -> None:
            raise KeyboardInterrupt

    cache = tmp_path / "there"
    with pytest.raises(KeyboardInterrupt):
        evaluated("builtin:ngram", cache, executor, Interrupting())
    done = evaluated("builtin:ngram", cache, executor)
    assert 0 < done.record.profile.encoded_texts < 400
    assert same(done, evaluated("builtin:ngram", tmp_path / "here"))


def test_what_workers_cannot_load_is_refused(executor: Executor, tmp_path: Path) -> None:
    from executor.encoders import vectors

    with pytest.raises(InputError, match=r"vectors: .*workers .*spec"):
        evaluate("mini", vectors, replace(QUICK, cache=tmp_path), executor=executor)


@pytest.mark.usefixtures("executor")
def test_what_ray_tells_by_itself_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from ray._private import worker

    told = {"lines": ["a node ended"], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(told, ignore_prefix=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert "a node ended" in err


def test_models_and_tasks_of_a_run_are_shared_out(
    executor: Executor, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    executor.dismiss()  # the command has workers of its own
    specs = ["builtin:ngram", f"py:{ENCODERS}:wrong", "builtin:bm25"]
    asked = ["run", *(f"--model={spec}" for spec in specs), "--langs", "de,en", "--json"]
    assert exit_code([*asked, "--output", str(cache / "alone")]) == 4
    alone, why = capfd.readouterr()
    assert (
        exit_code([*asked, "--output", str(cache / "shared"), "--on", "ray", "--workers", "2"]) == 4
    )
    shared, why_shared = capfd.readouterr()
    for each in (why, why_shared):
        assert re.search("wrong.*: ValueError: of a text", each)
    assert re.search(r"evaluate: 100%.* 3/3 .*(results/s|s/ results)", why_shared)
    for one, other in zip(json.loads(alone), json.loads(shared), strict=True):
        assert one["encoder"]["name"] == other["encoder"]["name"]
        assert one["tables"] == other["tables"]


# A quarter of a minute: two workers load torch and all that a training wants.
def test_trainings_of_an_experiment_are_shared_out(executor: Executor, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    stated = find_recipe("mini")[0].model_dump(exclude_none=True)
    recipe = Recipe.model_validate(stated | REDUCED)
    tasks = catalogue().tasks
    trainings = Trainings(recipe, tmp_path, tasks, device="cpu", discard_models=True)
    said: list[str] = []
    counted = Told()
    assert trainings.run(said.append, executor, counted) == {}
    assert counted.told == [("train", 2, "trainings"), 1, 1, "finished"]
    assert [line.partition(":")[0] for line in said] == ["1 of 2", "2 of 2"]
    assert read_experiment(recipe, tmp_path).missing == []
