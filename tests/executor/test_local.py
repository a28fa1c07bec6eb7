"""The contract of an executor, in this process."""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from executor.jobs import Squares, asked

from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError, OutOfReachError, UnknownNameError
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.executor import LOCAL, Local, opened, place
from xlir_bench.retrieval import embedding

ENCODERS = Path(__file__).with_name("encoders.py")
NO_RAY = "Ray is not installed: pip install 'xlir-bench[ray]'"


def numbers(*values: int) -> Iterator[tuple[str, int]]:
    return ((f"number {value}", value) for value in values)


def test_every_unit_is_done_once_in_this_process(tmp_path: Path) -> None:
    done = list(LOCAL.run(Squares(tmp_path), numbers(1, 2, 3)))
    assert {each.name: each.result() for each in done} == {
        "number 1": 1,
        "number 2": 4,
        "number 3": 9,
    }
    assert asked(tmp_path) == {n: [os.getpid()] for n in (1, 2, 3)}


def test_a_unit_that_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    done = {d.name: d for d in LOCAL.run(Squares(tmp_path, unknown=2), numbers(1, 2, 3))}
    assert done["number 3"].result() == 9
    with pytest.raises(UnknownNameError, match=r"'sevn'.*'seven'"):
        done["number 2"].result()


def test_units_are_taken_when_there_is_room_for_them(tmp_path: Path) -> None:
    taken: list[int] = []

    def units() -> Iterator[tuple[str, int]]:
        for value in (1, 2, 3):
            taken.append(value)
            yield f"number {value}", value

    run = LOCAL.run(Squares(tmp_path), units())
    next(run)
    assert taken == [1]
    run.close()
    assert list(asked(tmp_path)) == [1]


def test_an_interrupt_leaves_what_is_finished(tmp_path: Path) -> None:
    def units() -> Iterator[tuple[str, int]]:
        yield "number 1", 1
        raise KeyboardInterrupt

    run = LOCAL.run(Squares(tmp_path), units())
    assert next(run).result() == 1
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert list(asked(tmp_path)) == [1]


@pytest.mark.parametrize("text", ["", "spark", "ray:", "ray:head", "ray://head:10001", "ray:a:b"])
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\blocal\b.*\bray\b.*\bray:HOST:PORT\b"):
        place(text)


def test_this_process_has_no_workers() -> None:
    with pytest.raises(InputError, match=r"--workers .*--on ray"), opened("local", workers=2):
        pass


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "wanted"),
    [
        ([{"CPU": 4}, {"CPU": 4}], None, None, (2, 4, 0)),  # one a node
        ([{"CPU": 4}, {"CPU": 4}], 4, None, (4, 2, 0)),
        ([{"CPU": 4}, {"CPU": 4}], 3, None, (3, 2, 0)),
        ([{"CPU": 2}], 5, None, (5, 1, 0)),  # three of them wait
        ([{"CPU": 0}, {"CPU": 8}], None, None, (1, 8, 0)),
        ([{"CPU": 4}, {"CPU": 64, "GPU": 8}], None, None, (8, 8, 1)),  # one a GPU
        ([{"CPU": 64, "GPU": 8}], None, 2.0, (4, 16, 2)),
        ([{"CPU": 8, "GPU": 1}], None, 0.5, (2, 4, 0.5)),
        ([{"CPU": 8, "GPU": 1}], None, 0.0, (1, 8, 0)),
        ([{"CPU": 20, "GPU": 1}], None, 0.1, (10, 2, 0.1)),
        ([{"CPU": 64, "GPU": 8}], None, 0.3, (24, 2, 0.3)),  # none is of two GPUs
    ],
)
def test_workers_share_the_nodes(
    nodes: list[dict[str, float]],
    workers: int | None,
    gpus: float | None,
    wanted: tuple[int, int, float],
) -> None:
    cluster = pytest.importorskip("xlir_bench.executor.cluster", reason=NO_RAY)
    assert cluster.shared(nodes, workers, gpus) == wanted


@pytest.mark.parametrize("gpus", [1.5, 0.00001])
def test_a_share_of_gpus_that_ray_cannot_give_is_refused(gpus: float) -> None:
    cluster = pytest.importorskip("xlir_bench.executor.cluster", reason=NO_RAY)
    with pytest.raises(InputError, match=f"--gpus-per-worker {gpus:g}: .*whole"):
        cluster.shared([{"CPU": 8, "GPU": 4}], None, gpus)


@pytest.mark.parametrize(("node", "gpus"), [({"CPU": 0}, None), ({"CPU": 8}, 1.0)])
def test_a_cluster_without_room_is_told(node: dict[str, float], gpus: float | None) -> None:
    cluster = pytest.importorskip("xlir_bench.executor.cluster", reason=NO_RAY)
    with pytest.raises(InputError, match=f"no node .*{'1 GPU' if gpus else ''}.*processor"):
        cluster.shared([node], None, gpus)


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing answers."""
    pytest.importorskip("ray", reason=NO_RAY)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return address


def test_an_address_that_does_not_answer_is_told_in_a_line(
    no_cluster: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", "--on", f"ray:{no_cluster}", "--quiet"]) == 3
    told = capfd.readouterr().err
    assert told.startswith(f"error: --on ray:{no_cluster}: no head ")
    assert told.count("\n") == 1


def test_a_server_of_something_else_is_no_head(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as the dashboard's; one that says nothing at all is waited for no longer than `ANSWER`."""
    cluster = pytest.importorskip("xlir_bench.executor.cluster", reason=NO_RAY)
    monkeypatch.setattr(cluster, "ANSWER", 0.2)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)

    class Refusing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        socketserver.TCPServer(("127.0.0.1", 0), Refusing) as web,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        Thread(target=web.handle_request, daemon=True).start()
        for port in (web.server_address[1], silent.getsockname()[1]):
            address = f"127.0.0.1:{port}"
            assert exit_code(["run", "--on", f"ray:{address}", "--quiet"]) == 3
            assert f"ray:{address}: no head " in capfd.readouterr().err


def test_an_address_of_the_environment_is_told_as_such(
    no_cluster: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", no_cluster)
    assert exit_code(["run", "--on", "ray", "--quiet"]) == 3
    assert f"RAY_ADDRESS={no_cluster}: no head " in capfd.readouterr().err
    monkeypatch.setenv("RAY_ADDRESS", f"ray://{no_cluster}")
    assert exit_code(["run", "--on", "ray", "--quiet"]) == 2
    assert "ray job submit" in capfd.readouterr().err


@pytest.mark.usefixtures("no_cluster")
def test_a_node_that_does_not_start_in_time_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import ray

    why = "The current node timed out during startup."

    def slow(**_how: object) -> None:
        raise Exception(why)  # as Ray does

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "init", slow)
    assert exit_code(["run", "--on", "ray", "--quiet"]) == 3
    told = capfd.readouterr().err
    assert re.match(f"error: .*start Ray .*Exception: {why}", told)
    assert told.count("\n") == 1


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("word", ["auto", "local", ""])
def test_rays_own_words_for_this_machine_are_addresses(
    word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    class JoinedError(Exception):
        pass

    def init(address: str, **_how: object) -> None:
        raise JoinedError(address)

    monkeypatch.setenv("RAY_ADDRESS", word)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(OutOfReachError, match=r"start Ray .*JoinedError: local"),
        opened("ray"),
    ):
        pass


@pytest.mark.parametrize("other", [["--on", "ray"], ["--no-keep-vectors"]])
def test_a_shard_is_written_from_here(other: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "--shard", "1/2", *other, "--quiet"]) == 2
    assert f"leave {other[0]} out" in capfd.readouterr().err


@pytest.mark.parametrize(("in_memory", "device"), [(1_000, "cpu"), (1, "cpu:0")])
@pytest.mark.parametrize("fuse", [(), ("builtin:random",)])
@pytest.mark.parametrize("rerank", [None, f"py:{ENCODERS}:lengths"])
def test_a_result_says_where_its_vectors_were_compared(
    in_memory: int, device: str, fuse: tuple[str, ...], rerank: str | None,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(embedding, "IN_MEMORY", in_memory)
    options = RunOptions(langs=("de", "en"), cache=tmp_path, search_device="cpu:0", limit=9)
    result = evaluate(
        "mini", "builtin:ngram", options, fuse=fuse, rerank=rerank, executor=Local(remote=True)
    )
    assert result.record.profile.search_device == device


@pytest.mark.parametrize("device", ["cuda", "foo"])
def test_workers_are_not_asked_for_a_device_that_they_do_not_have(
    device: str, tmp_path: Path
) -> None:
    options = RunOptions(cache=tmp_path, search_device=device)
    with pytest.raises(
        InputError, match=f"--search-device {device}: .*workers .*cpu: leave the option out"
    ):
        evaluate("mini", "builtin:ngram", options, executor=Local(remote=True, device="cpu"))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b"])
def test_other_shards_are_refused(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", f"--shard={text}"]) == 2
    assert re.search(f"--shard .*{text}.* I/N, .*1/8", capfd.readouterr().err)


def test_shards_fill_the_cache_for_the_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    run = ["run", "--model=builtin:ngram", "--langs=de,en", "--output", str(tmp_path / "out")]
    for shard in ("2/2", "1/2"):
        assert exit_code([*run, "--shard", shard]) == 0
        assert re.search(rf"\d texts .*part {shard[0]} of 2", capfd.readouterr().err)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("result.json"))
    assert exit_code([*run, "--json", "--quiet"]) == 0
    profile = json.loads(capfd.readouterr().out)["profile"]
    assert (profile["encoded_texts"], profile["cached_texts"]) == (0, 434)
