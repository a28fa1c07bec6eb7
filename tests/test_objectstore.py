"""A cache in an object store: what one machine has put there another finds, and nothing else changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from retrieval.test_cache import TEXTS, block_of, found_in, seen, vectors_of

from xlir_bench import objectstore
from xlir_bench.cli import exit_code
from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.places import cache_root
from xlir_bench.retrieval import embedding
from xlir_bench.retrieval.vector_store import Store, text_keys, write_block
from xlir_bench.sources.corpus import Passage, open_corpus, stored_corpus
from xlir_bench.sources.rows import Faults

Machine = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """From now on this is the machine of that name; its cache."""

    def become(name: str) -> Path:
        monkeypatch.setattr("platformdirs.user_cache_path", lambda _app: tmp_path / name)
        return cache_root()

    return become


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of a server on loopback that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'xlir-bench[s3]'")
    pytest.importorskip(
        "moto", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("ACCESS_KEY_ID", "a"),
            ("SECRET_ACCESS_KEY", "b"),
            ("REGION", "us-east-1"),
        ):
            patch.setenv(f"AWS_{name}", value)
        code = (
            "from moto.server import ThreadedMotoServer as S; import sys; s = S('127.0.0.1', 0, verbose=False); s.start();"
            " print(s.get_host_and_port()[1], flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as server:  # fmt: skip
            address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            patch.setenv("AWS_ENDPOINT_URL", address)
            import s3fs

            s3fs.S3FileSystem().mkdir("bucket")
            yield "s3://bucket/some/prefix"
            urlopen(f"{address}/moto-api/reset", data=b"").close()
            server.stdin.close()


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store, which the environment names."""
    if request.param == "s3":
        url = f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    else:
        url = {"memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}/far/away"}[
            request.param
        ]
    monkeypatch.setenv("XLIR_CACHE", url)
    return url


def filled(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    vectors = np.random.default_rng(len(texts)).standard_normal((len(texts), 5)).astype(np.float32)
    write_block(folder / "query", block_of(texts, vectors))
    return vectors


def test_what_one_machine_wrote_another_reads_and_fetches_no_more_than_it_needs(
    store: str, machine: Machine
) -> None:
    there = machine("one")
    vectors = filled(there)
    filled(there, ["of another task"])
    here = machine("other")
    assert here != there
    assert not here.exists()
    found = found_in(here, [TEXTS[7], "never seen", TEXTS[0]])
    assert seen(found) == [True, False, True]
    np.testing.assert_array_equal(
        np.asarray(found.vectors(np.array([2, 0]), None)), vectors[[0, 7]]
    )
    assert len(list(here.rglob("*.safetensors"))) == 1
    assert len(objectstore.names(here / "query")) == 2
    assert not list(here.rglob(".*.tmp"))


def test_two_that_write_the_same_shard_write_the_same_file(store: str, machine: Machine) -> None:
    for name in ("one", "other"):
        vectors = filled(machine(name))
    assert len(objectstore.names(cache_root() / "query")) == 1
    np.testing.assert_array_equal(vectors_of(found_in(machine("third"))), vectors)


@pytest.mark.parametrize("store", ["memory", "file"], indirect=True)
def test_a_file_appears_whole(
    store: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, seen_meanwhile = shutil.copyfileobj, []

    def watched(local, far, length=0) -> None:  # type: ignore[no-untyped-def]
        copy(local, far, length)
        far.flush()
        seen_meanwhile.append(objectstore.names(cache_root() / "query"))

    machine("one")
    monkeypatch.setattr("shutil.copyfileobj", watched)
    filled(cache_root())
    assert [{n for n in names if n.endswith(".safetensors")} for names in seen_meanwhile] == [set()]


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_shard_that_cannot_be_put_is_not_kept_here(
    store: str, machine: Machine, tmp_path: Path
) -> None:
    machine("one")
    (tmp_path / "far").write_text("no folder")
    with pytest.raises(OutOfReachError, match=r"^file://.*far"):
        filled(cache_root())
    assert not list(cache_root().rglob("*.safetensors"))


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_damaged_shard_of_the_store_is_told_and_stays(
    store: str, machine: Machine, tmp_path: Path
) -> None:
    filled(machine("one"))
    (far,) = (tmp_path / "far").rglob("*.safetensors")
    far.write_bytes(far.read_bytes()[:-1] + b"\x01")
    opened = Store(machine("other"))
    assert not any(seen(opened.find("query", text_keys(TEXTS))))
    assert opened.damaged["query"] == 1
    assert far.exists()
    assert not list(cache_root().rglob("*.safetensors"))
    vectors = filled(cache_root())  # the same texts are encoded again
    np.testing.assert_array_equal(vectors_of(found_in(machine("third"))), vectors)


def test_a_corpus_is_read_once_for_all_machines(store: str, machine: Machine) -> None:
    passages = [Passage(f"p{i}", "title", f"text {i}") for i in range(5)]
    folder = machine("one") / "corpora" / "digest"
    assert stored_corpus(folder, "en", passages, Faults(), Path("source")) is not None
    corpus = open_corpus(machine("other") / "corpora" / "digest", "en")
    assert corpus is not None
    assert list(corpus.texts) == [f"title text {i}" for i in range(5)]
    assert list(corpus.ids) == [f"en:p{i}" for i in range(5)]
    assert open_corpus(cache_root() / "corpora" / "another", "en") is None


def test_a_run_on_another_machine_encodes_nothing(
    store: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", 10)  # vectors are read from files
    options = RunOptions(langs=("de", "en"), kinds=("monolingual",), cache=None)
    one, other = (
        evaluate("mini", "builtin:ngram", replace(options, cache=machine(name)))
        for name in ("one", "other")
    )
    assert one.record.profile.encoded_texts == other.record.profile.cached_texts == 434
    assert other.record.profile.encoded_texts == 0
    assert other.record.notes == one.record.notes
    assert one.tables["ranks"].equals(other.tables["ranks"])


def test_a_cache_may_be_named_by_its_url_in_python(machine: Machine) -> None:
    machine("one")
    assert RunOptions(cache="memory://here").cache == objectstore.staging("memory://here")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "s3://bucket",
            r"s3://bucket .*s3fs.* 'xlir-bench\[s3\]'",
        ),
        ("gs://bucket", "gs://bucket: .*gcsfs"),
        ("sss://bucket", "sss://bucket: Protocol not known: sss"),
        ("memory://" + "a" * 300, "too long"),
        ("s3://", "s3:// .*no place"),  # as s3://$BUCKET is without one
        ("memory:///", "memory:/// .*no place"),
        ("://bucket", "://bucket .*no place"),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_line(
    url: str, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xlir_bench.extras.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=told):
        objectstore.staging(url)
    monkeypatch.setenv("XLIR_CACHE", url)
    assert exit_code(["run", "--quiet"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_does_not_answer_is_told_in_a_line(
    s3: str,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XLIR_CACHE", "s3://nowhere/prefix")
    machine("one")
    assert exit_code(["run", "--quiet", "--langs", "de,en", "--output", str(tmp_path)]) == 3
    told = capfd.readouterr().err
    assert "s3://nowhere/prefix" in told
    assert "cannot be reached" in told
    assert told.count("\n") == 1
