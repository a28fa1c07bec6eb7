"""Workers on a real Ray cluster of two nodes, both on this machine; one cluster serves all of this file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executor.jobs import Squares, asked

from xlir_bench.errors import XlirError
from xlir_bench.executor import Executor, cluster, opened

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster with a head of one processor and another node of one; it wants a token."""
    with pytest.MonkeyPatch.context() as patch:
        # Before Ray is imported, which reads them once.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
        patch.delenv("RAY_ADDRESS", raising=False)
        # Workers import the jobs of these tests.
        here = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'xlir-bench[ray]'")
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


def numbers(*values: int) -> Iterator[tuple[str, int]]:
    return ((f"number {value}", value) for value in values)


def test_every_unit_is_done_once_by_one_worker_a_node(executor: Executor, tmp_path: Path) -> None:
    done = list(executor.run(Squares(tmp_path, seconds=0.2), numbers(*range(6))))
    assert {each.name: each.result() for each in done} == {f"number {n}": n * n for n in range(6)}
    processes = asked(tmp_path)
    assert sorted(processes) == list(range(6))
    assert all(len(each) == 1 for each in processes.values())
    assert len({each[0] for each in processes.values()}) == executor.workers == 2
    assert sum(executor.kinds.values()) == 2
    (kind,) = executor.kinds
    assert "xlir-bench" in kind


def test_errors_of_a_worker_are_this_projects_and_hold_up_no_other_unit(
    executor: Executor, tmp_path: Path
) -> None:
    job = Squares(tmp_path, wrong=1, unknown=2)
    done = {each.name: each for each in executor.run(job, numbers(1, 2, 3))}
    assert done["number 3"].result() == 9
    with pytest.raises(XlirError, match=r"^ZeroDivisionError: of a number \(of a worker") as wrong:
        done["number 1"].result()
    assert wrong.value.exit_code == 4
    with pytest.raises(XlirError, match="did you mean 'seven'") as unknown:
        done["number 2"].result()
    assert unknown.value.exit_code == 2
    assert "in square" in unknown.value.__notes__[0]


def test_what_cannot_be_opened_is_told_at_once(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(XlirError, match="did you mean 'ngram'"):
        list(executor.run(Squares(tmp_path, cannot_open=True), numbers(1)))


def test_the_unit_of_a_killed_worker_is_done_again(
    executor: Executor, tmp_path: Path, told: list[str]
) -> None:
    done = list(executor.run(Squares(tmp_path, once=2), numbers(1, 2, 3, 4)))
    assert sorted(each.result() for each in done) == [1, 4, 9, 16]
    assert len(set(asked(tmp_path)[2])) == 2
    assert told[-1].endswith("what it did is done again: number 2")


def test_a_unit_that_ends_every_worker_is_given_up_by_name(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "MOST_DEATHS", 2)
    done = {e.name: e for e in executor.run(Squares(tmp_path, fatal=2), numbers(1, 2, 3))}
    assert done["number 1"].result() + done["number 3"].result() == 10
    with pytest.raises(XlirError, match="number 2: given up, for it ended 2 workers"):
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
