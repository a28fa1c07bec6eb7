from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import read_only
from processes import begin
from retrieval.killed import every_run
from worlds import text_collection

from xlir_bench.errors import BadVectorsError, XlirError
from xlir_bench.options.running import Shard
from xlir_bench.records import Collection, Role, Silent, TokenCounts
from xlir_bench.retrieval import (
    EmbedRequest,
    Represented,
    VectorRetriever,
    embed,
    embedding,
    encoding,
    normalised,
    prune,
)
from xlir_bench.retrieval.similarity import rounded


@dataclass
class Letters:
    """An encoder of vectors that tell texts apart; it counts what it is asked, and may be disturbed."""

    name: str = "letters"
    fingerprint: str = "sha256:" + "0" * 64
    dimension: int = 4
    seen: Counter[tuple[Role, str]] = field(default_factory=Counter)
    batches: list[list[str]] = field(default_factory=list)
    disturb: Callable[[list[str], np.ndarray], Any] = lambda texts, vectors: vectors

    def encode(self, texts: Sequence[str], role: Role) -> np.ndarray:
        self.seen.update((role, text) for text in texts)
        self.batches.append(list(texts))
        vectors = [[len(t), sum(map(ord, t)), 1, role == "query"] for t in texts]
        return self.disturb(list(texts), np.array(vectors, np.float32))


@dataclass
class Counting(Letters):
    """One that has a tokenizer: a token a character."""

    counted: Counter[str] = field(default_factory=Counter)

    def count_tokens(self, texts: Sequence[str], role: Role) -> TokenCounts:
        self.counted.update(texts)
        unknown = np.array([text.count("?") for text in texts], np.int64)
        return TokenCounts(np.array([len(text) for text in texts], np.int64), unknown)


class Told:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, stage: str, total: int, unit: str) -> None:
        self.told.append((stage, total, unit))

    def advance(self, count: int) -> None:
        self.told.append(count)

    def finish(self) -> None:
        self.told.append("finished")


COLLECTION = text_collection(
    {"de": ["Wo?", "OK", "Wann?"], "en": ["Where?", "OK", "OK", "When?"]},
    {"de": ["hier", "OK", "gestern", "hier"], "en": ["here", "OK", "yesterday"]},
)
QUERIES = ["Wo?", "OK", "Wann?", "Where?", "When?"]
PASSAGES = ["hier", "OK", "gestern", "here", "yesterday"]


def run(
    encoder: Letters,
    cache: Path | None = None,
    collection: Collection = COLLECTION,
    batch_tokens: int | None = None,
) -> Represented:
    return embed(collection, encoder, EmbedRequest(cache, batch_tokens), Silent())


def expected(role: Role, texts: Sequence[str]) -> np.ndarray:
    return Letters().encode(texts, role)


@pytest.mark.parametrize("kind", [Letters, Counting])
@pytest.mark.parametrize("budget", [None, 1, 12])
@pytest.mark.parametrize("cached", [True, False])
def test_each_text_of_a_role_is_encoded_once_over_all_languages(
    tmp_path: Path, kind: type[Letters], budget: int | None, cached: bool
) -> None:
    encoder = kind()
    found = run(encoder, tmp_path if cached else None, batch_tokens=budget)
    wanted = [("query", t) for t in QUERIES] + [("passage", t) for t in PASSAGES]
    assert encoder.seen == Counter(wanted)
    assert (found.encoded, found.cached) == (10, 0)
    for (role, lang), vectors in found.vectors.items():
        texts = COLLECTION.texts(role, lang)
        np.testing.assert_array_equal(vectors, expected(role, texts))


def test_texts_of_all_languages_share_batches_the_longest_first() -> None:
    encoder = Counting()
    run(encoder, batch_tokens=12)
    assert encoder.batches == [
        ["Where?", "Wann?"], ["When?", "Wo?"], ["OK"],
        ["yesterday"], ["gestern"], ["hier", "here", "OK"],
    ]  # fmt: skip


def test_tokens_are_counted_by_language_where_there_is_a_tokenizer(tmp_path: Path) -> None:
    for _ in ("encoded", "cached"):
        found = run(Counting(), tmp_path)
        assert found.tokens is not None
        assert found.tokens["query", "en"].tokens.tolist() == [6, 2, 2, 5]
        assert found.tokens["query", "en"].unknown.tolist() == [1, 0, 0, 1]
        assert found.tokens["passage", "de"].tokens.tolist() == [4, 2, 7, 4]
    assert run(Letters()).tokens is None


def test_a_second_run_encodes_and_counts_nothing(tmp_path: Path) -> None:
    first = run(Counting(), tmp_path)
    encoder = Counting()
    second = run(encoder, tmp_path)
    assert not encoder.seen
    assert not encoder.counted
    assert (second.encoded, second.cached) == (0, 10)
    for key, vectors in first.vectors.items():
        np.testing.assert_array_equal(second.vectors[key], vectors)


def test_an_encoder_with_another_fingerprint_shares_nothing(tmp_path: Path) -> None:
    run(Letters(), tmp_path)
    assert run(Letters(fingerprint="sha256:" + "1" * 64), tmp_path).encoded == 10


def test_only_what_an_unrelated_run_left_out_is_encoded(tmp_path: Path) -> None:
    english = text_collection(
        {"en": COLLECTION.queries["en"].texts}, {"en": COLLECTION.passages["en"].texts}
    )
    run(Letters(), tmp_path, english)
    encoder = Letters()
    found = run(encoder, tmp_path)
    assert encoder.seen == Counter(
        [("query", "Wo?"), ("query", "Wann?"), ("passage", "hier"), ("passage", "gestern")]
    )
    assert (found.encoded, found.cached) == (4, 6)
    np.testing.assert_array_equal(
        found.vectors["passage", "de"], expected("passage", COLLECTION.passages["de"].texts)
    )


def test_without_a_cache_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    run(Letters())
    assert run(Letters()).encoded == 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_block_is_noted_and_encoded_again(tmp_path: Path, damage: str) -> None:
    run(Letters(), tmp_path)
    (block,) = tmp_path.rglob("passage/*.safetensors")
    content = bytearray(block.read_bytes())
    content[-3] ^= 4
    block.write_bytes(content if damage == "flip" else content[:-9])
    encoder = Letters()
    found = run(encoder, tmp_path)
    assert encoder.seen == Counter([("passage", text) for text in PASSAGES])
    (note,) = found.notes
    assert re.match(r"1 damaged .*\bpassage\b", note)
    np.testing.assert_array_equal(
        found.vectors["passage", "en"], expected("passage", COLLECTION.passages["en"].texts)
    )
    assert run(Letters(), tmp_path).notes == ()


def fail_at(call: int, error: BaseException) -> Callable[[list[str], np.ndarray], np.ndarray]:
    """Disturbs one batch."""
    calls = iter(range(1, 1000))

    def disturb(_: list[str], vectors: np.ndarray) -> np.ndarray:
        if next(calls) == call:
            raise error
        return vectors

    return disturb


@pytest.mark.parametrize("error", [KeyboardInterrupt(), XlirError("lost"), MemoryError()])
@pytest.mark.parametrize("call", [1, 2, 4, 6])
def test_whatever_stops_a_run_whole_batches_are_kept(
    tmp_path: Path, call: int, error: BaseException
) -> None:
    first = Counting(disturb=fail_at(call, error))
    with pytest.raises(type(error)):
        run(first, tmp_path, batch_tokens=12)
    second = Counting()
    found = run(second, tmp_path, batch_tokens=12)
    assert first.batches[:-1] + second.batches == [
        ["Where?", "Wann?"], ["When?", "Wo?"], ["OK"],
        ["yesterday"], ["gestern"], ["hier", "here", "OK"],
    ]  # fmt: skip
    assert found.cached == sum(len(batch) for batch in first.batches[:-1])
    np.testing.assert_array_equal(
        found.vectors["passage", "de"], expected("passage", COLLECTION.passages["de"].texts)
    )


def test_a_full_disk_does_not_end_the_run_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 1)
    honest = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        if len(list(tmp_path.rglob("*.safetensors"))) == 3 and ".safetensors" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        found = run(Counting(), tmp_path, batch_tokens=12)
    (note,) = found.notes
    assert "disk is full" in note
    assert "XLIR_CACHE" in note
    np.testing.assert_array_equal(
        found.vectors["passage", "en"], expected("passage", COLLECTION.passages["en"].texts)
    )
    assert not list(tmp_path.rglob("*.tmp"))
    encoder = Counting()
    run(encoder, tmp_path, batch_tokens=12)
    assert len(encoder.batches) == 3, "what was written before is kept"


SMALL_DISK = """
import resource, sys
from xlir_bench.cli import exit_code
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.dont_write_bytecode = True  # Python would cut compiled modules there, too, for everyone
sys.exit(exit_code(["run", "--model", "builtin:ngram", "--langs", "de,en", "--output", sys.argv[1]]))
"""


def test_a_cache_that_the_system_refuses_to_write_is_a_note_of_the_result(tmp_path: Path) -> None:
    environment = {"XLIR_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (result,) = tmp_path.rglob("result.json")
    notes = json.loads(result.read_text("utf-8"))["notes"]
    assert any("File too large" in note and "not kept" in note for note in notes)
    assert "File too large" in ended.stdout
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("where", ["below a file", "read-only"])
def test_a_cache_that_takes_nothing_is_one_note_and_what_it_holds_is_used(
    tmp_path: Path, where: str
) -> None:
    if where == "below a file":
        (tmp_path / "file").write_text("")
        found = run(Letters(), tmp_path / "file" / "cache")
        assert (found.encoded, len(found.notes)) == (10, 1)
        assert "Not a directory" in found.notes[0]
        return
    run(Letters(), tmp_path, text_collection({"en": ["OK"]}, {"en": ["OK"]}))
    with read_only(tmp_path):
        found = run(Letters(), tmp_path)
    assert (found.encoded, found.cached, len(found.notes)) == (8, 2, 1)
    np.testing.assert_array_equal(
        found.vectors["passage", "en"], expected("passage", COLLECTION.passages["en"].texts)
    )


def test_what_is_pruned_in_the_middle_of_a_run_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by us, who leave it to the run, nor by someone who does not ask."""
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 1)
    asked: list[tuple[int, int]] = []

    def disturb(texts: list[str], vectors: np.ndarray) -> np.ndarray:
        if "gestern" in texts:
            pruned = prune(tmp_path, max_bytes=0)
            asked.append((len(pruned.removed), len(pruned.in_use)))
            shutil.rmtree(tmp_path / "vectors")
        return vectors

    found = run(Counting(disturb=disturb), tmp_path, batch_tokens=12)
    assert asked == [(0, 1)]
    assert found.notes == ()
    np.testing.assert_array_equal(
        found.vectors["passage", "en"], expected("passage", COLLECTION.passages["en"].texts)
    )
    assert len(prune(tmp_path, max_bytes=0).removed) == 1, "it is in use no longer"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_no_number_names_its_text_and_is_not_kept(
    tmp_path: Path, bad: float
) -> None:
    def disturb(texts: list[str], vectors: np.ndarray) -> np.ndarray:
        vectors[[text == "gestern" for text in texts], 2] = bad
        return vectors

    with pytest.raises(BadVectorsError, match="gestern"):
        run(Letters(disturb=disturb), tmp_path)
    encoder = Letters()
    run(encoder, tmp_path)
    assert encoder.seen == Counter([("passage", text) for text in PASSAGES])


@pytest.mark.parametrize(
    "disturb",
    [
        lambda texts, vectors: vectors[:, :3],
        lambda texts, vectors: np.hstack([vectors, vectors]) if "OK" in texts else vectors,
        lambda texts, vectors: vectors[1:],
        lambda texts, vectors: vectors[0],
        lambda texts, vectors: ["a"] * len(texts),
    ],
)
def test_vectors_of_a_wrong_shape_are_one_message(disturb: Any) -> None:
    with pytest.raises(BadVectorsError):
        run(Counting(disturb=disturb), batch_tokens=12)


def test_zero_vectors_are_counted_and_one_text_is_named(tmp_path: Path) -> None:
    def disturb(texts: list[str], vectors: np.ndarray) -> np.ndarray:
        vectors[[text in ("OK", "hier") for text in texts]] = 0
        return vectors

    for encoder in (Letters(disturb=disturb), Letters()):  # it is said of cached vectors too
        query, passage = run(encoder, tmp_path).notes
        assert re.fullmatch("1 query .*zero .*pool order: 'OK'", query)
        assert re.fullmatch("2 passage .*zero .*pool order: 'hier'", passage)


def test_progress_counts_every_text_once(tmp_path: Path) -> None:
    progress = Told()
    told = progress.told
    with pytest.raises(KeyboardInterrupt):
        run(Counting(disturb=fail_at(3, KeyboardInterrupt())), tmp_path, batch_tokens=12)
    embed(COLLECTION, Counting(), EmbedRequest(tmp_path, 12), progress)
    assert told == [("encode", 6, "texts"), 1, 1, 1, 3, "finished"]
    told.clear()
    embed(COLLECTION, Counting(), EmbedRequest(tmp_path, 12), progress)
    assert told == []


@pytest.mark.parametrize("window", [65_536, 4, 1])
def test_progress_of_a_part_counts_what_it_encodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(embedding, "WINDOW", window)
    monkeypatch.setattr(embedding, "WINDOWS", 2)
    request = EmbedRequest(tmp_path, 12)
    with pytest.raises(KeyboardInterrupt):
        run(Counting(disturb=fail_at(3, KeyboardInterrupt())), tmp_path, batch_tokens=12)
    encoded = 0
    for part in (1, 2):
        encoder, progress = Counting(), Told()
        VectorRetriever(encoder, request).encode_shard(COLLECTION, Shard(part, 2), progress)
        stages = [told for told in progress.told if isinstance(told, tuple)]
        counts = [told for told in progress.told if isinstance(told, int)]
        assert sum(total for _, total, _ in stages) == sum(counts) == encoder.seen.total()
        assert progress.told.count("finished") == len(stages)
        encoded += sum(counts)
    assert encoded
    assert run(Counting(), tmp_path, batch_tokens=12).encoded == 0


# Slow: fourteen forks that each embed with a model.
@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, tiny_transformer: Path) -> dict[str, Any]:
    """What `killed.py` did with a real model: its words, and the vectors of each run by name."""
    folder = tmp_path_factory.mktemp("killed")
    process = begin(partial(every_run, str(tiny_transformer), folder, 3), folder / "said")
    process.join()
    assert process.exitcode == 0, (folder / "said").read_text(encoding="utf-8")
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    runs = {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}
    return {"said": said, "folder": folder, **runs}


def vectors(run: dict[str, np.ndarray]) -> list[bytes]:
    return [run[name].tobytes() for name in sorted(run) if name != "counts"]


def test_a_vector_depends_a_little_on_its_batch(killed: dict[str, Any]) -> None:
    """Else the tests below would show nothing."""
    assert vectors(killed["other"]) != vectors(killed["whole"])
    for name in ("query.de", "passage.en"):
        np.testing.assert_allclose(killed["other"][name], killed["whole"][name], atol=1e-4)


def test_a_run_that_was_killed_again_and_again_gives_the_same_bits(killed: dict[str, Any]) -> None:
    said = killed["said"]
    assert said["killed"] == [-9] * 7
    assert said["killed, then finished"] == 0
    assert 0 < said["blocks left"] < said["blocks of a whole run"], "else this shows nothing"
    assert killed["killed"]["counts"][1] > 0
    assert killed["killed"]["counts"][2] == 0, "no block was damaged"
    assert vectors(killed["killed"]) == vectors(killed["whole"])


def test_two_runs_at_once_on_one_cache_give_the_same_bits(killed: dict[str, Any]) -> None:
    assert killed["said"]["both"] == [0, 0]
    for name in ("both0", "both1", "warm"):
        assert vectors(killed[name]) == vectors(killed["whole"])
    encoded, cached, notes = killed["warm"]["counts"]
    assert (encoded, notes) == (0, 0)
    assert cached > 0
    assert not list((killed["folder"] / "both").rglob("*.plan"))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("held", [1, 1000])
def test_vectors_kept_in_fewer_bits_are_near_and_the_same_in_every_run(
    tmp_path: Path, dtype: Any, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IN_MEMORY", held)
    found = [
        embed(COLLECTION, Letters(), EmbedRequest(tmp_path, vectors=dtype), Silent())
        for _ in range(2)
    ]
    assert (found[0].encoded, found[1].cached) == (10, 10)
    for key, vectors in (found[0].vectors or {}).items():
        assert vectors.on_disk == (held == 1)
        again = np.asarray((found[1].vectors or {})[key])
        np.testing.assert_array_equal(np.asarray(vectors), again)
        exact = expected(key[0], COLLECTION.texts(*key))
        cosine = (normalised(again) * normalised(exact)).sum(axis=1)
        assert cosine.min() > (0.9999 if dtype == "int8" else 0.999999)
    whole = embed(COLLECTION, Letters(), EmbedRequest(tmp_path), Silent())
    assert whole.encoded == 10, "float32 vectors are never taken from those"


def test_rounding_to_eight_bits_keeps_zero_and_the_largest() -> None:
    rows = rounded(np.array([[0, 0, 0], [3e-20, -9e-20, 0], [5, 2.5, 5e9]], np.float32), "int8")
    assert rows.tolist() == [[0, 0, 0], [42, -127, 0], [0, 0, 127]]
