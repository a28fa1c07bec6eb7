from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import read_only
from retrieval.test_embedding import Counting, Letters
from worlds import text_collection

from xlir_bench.errors import InputError
from xlir_bench.executor import Done
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import Shard
from xlir_bench.records import Collection, Passages, Relevance, Setting, Silent
from xlir_bench.retrieval import (
    EmbedRequest,
    Represented,
    VectorRetriever,
    Want,
    elsewhere,
    embed,
    embedding,
    encoding,
    passing,
    prune,
    vector_index,
)
from xlir_bench.shardfile import mapped


@dataclass(frozen=True)
class OnDisk(Sequence[str]):
    """Texts that say of themselves that they lie on disk."""

    texts: tuple[str, ...]
    digest: str = "c" * 32

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row):  # type: ignore[no-untyped-def]
        return self.texts[row]


TEXTS = tuple(f"passage {n}" + "x" * (n % 7) for n in range(25))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 10)
    monkeypatch.setattr(embedding, "IN_MEMORY", 10)
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 3)


def collection() -> Collection:
    plain = text_collection({"en": ["one?", "two?"]}, {"en": ["x"]})
    texts = OnDisk(TEXTS)
    ids = tuple(f"en:{n}" for n in range(len(TEXTS)))
    return plain.__class__(plain.queries, {"en": Passages(ids, texts)}, {}, "article", False, {})


def run(encoder: Letters, cache: Path | None) -> Represented:
    return embed(collection(), encoder, EmbedRequest(cache, batch_tokens=20), Silent())


def vectors(found: Represented) -> np.ndarray:
    its = found.vectors["passage", "en"]
    assert its.on_disk
    return its.rows(np.arange(len(its)))


def some_shard(cache: Path) -> tuple[Path, int]:
    """One of those that hold passages, and how many."""
    path = min(cache.rglob("passage/*.safetensors"))
    return path, len(mapped(path)["vectors"])


def test_a_corpus_on_disk_is_encoded_a_window_at_a_time_and_read_in_its_order(
    tmp_path: Path,
) -> None:
    encoder = Letters()
    found = run(encoder, tmp_path)
    its = found.vectors["passage", "en"]
    assert its.on_disk
    assert len(its) == 25
    assert (vectors(found) == Letters().encode(TEXTS, "passage")).all()
    assert all(isinstance(part, Path) for part in its.parts)
    assert found.encoded == 2 + 25


def test_the_second_run_encodes_nothing(tmp_path: Path) -> None:
    first = vectors(run(Letters(), tmp_path))
    again = Letters()
    found = run(again, tmp_path)
    assert not again.seen
    assert (found.encoded, found.cached) == (0, 27)
    assert (vectors(found) == first).all()


def test_another_encoder_or_another_corpus_has_shards_of_its_own(tmp_path: Path) -> None:
    run(Letters(), tmp_path)
    other = Letters(fingerprint="sha256:" + "1" * 64)
    run(other, tmp_path)
    assert sum(other.seen.values()) == 27


def test_a_run_that_is_killed_goes_on_inside_the_window_where_it_stopped(tmp_path: Path) -> None:
    class Stopped(KeyboardInterrupt):
        pass

    def stop(texts: list[str], found: np.ndarray) -> np.ndarray:
        if TEXTS[14] in texts:
            raise Stopped
        return found

    broken = Letters(disturb=stop)
    with pytest.raises(Stopped):
        run(broken, tmp_path)
    done = {text for role, text in broken.seen if role == "passage" and text != TEXTS[14]}
    again = Letters()
    found = run(again, tmp_path)
    asked = {text for role, text in again.seen if role == "passage"}
    assert len(asked) < len(TEXTS) - 9
    assert set(TEXTS) - done <= asked
    assert not asked & set(TEXTS[:10]), "the first window was whole"
    assert (vectors(found) == Letters().encode(TEXTS, "passage")).all()


def test_a_damaged_shard_is_found_and_encoded_again(tmp_path: Path) -> None:
    wanted = vectors(run(Letters(), tmp_path))
    path, lost = some_shard(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    again = Letters()
    found = run(again, tmp_path)
    assert (vectors(found) == wanted).all()
    assert any(note.startswith("1 damaged ") for note in found.notes)
    assert (found.encoded, found.cached) == (lost, 27 - lost)
    assert sum(again.seen.values()) == lost


def test_without_a_cache_the_shards_lie_in_a_folder_that_goes_away(tmp_path: Path) -> None:
    found = run(Letters(), None)
    its = found.vectors["passage", "en"]
    assert its.on_disk
    (folder,) = {Path(str(part)).parents[1] for part in its.parts}
    assert (vectors(found) == Letters().encode(TEXTS, "passage")).all()
    assert folder.is_dir()
    del found, its
    assert not folder.exists()


def test_token_counts_of_a_corpus_are_kept_beside_its_vectors(tmp_path: Path) -> None:
    for _ in range(2):
        found = run(Counting(), tmp_path)
        assert found.tokens is not None
        assert found.tokens["passage", "en"].tokens.tolist() == [len(text) for text in TEXTS]


def test_zero_vectors_are_told_of_in_every_run(tmp_path: Path) -> None:
    def blank(texts: list[str], found: np.ndarray) -> np.ndarray:
        found[[text == TEXTS[17] for text in texts]] = 0
        return found

    for _ in range(2):
        notes = run(Letters(disturb=blank), tmp_path).notes
        zero = rf"1 passage .*zero .*pool order: {re.escape(repr(TEXTS[17]))}"
        assert any(re.fullmatch(zero, note) for note in notes)


def test_a_cache_that_takes_nothing_is_a_note_and_what_it_holds_is_used(tmp_path: Path) -> None:
    wanted = vectors(run(Letters(), tmp_path))
    path, lost = some_shard(tmp_path)
    path.unlink()
    with read_only(tmp_path):
        found = run(Letters(), tmp_path)
        assert (found.encoded, found.cached) == (lost, 27 - lost)
        (note,) = found.notes
        assert "cannot write" in note
        assert (vectors(found) == wanted).all()


def test_vectors_that_are_being_read_are_not_pruned(tmp_path: Path) -> None:
    found = run(Letters(), tmp_path)
    wanted = vectors(found)
    assert len(prune(tmp_path, max_bytes=0).in_use) == 1
    assert (vectors(found) == wanted).all()
    del found
    assert len(prune(tmp_path, max_bytes=0).removed) == 1


def test_an_error_of_the_system_leaves_shards_as_they_are(tmp_path: Path) -> None:
    run(Letters(), tmp_path)
    shard, lost = some_shard(tmp_path)
    endless = shard.with_name("0.safetensors")
    endless.symlink_to(endless)
    shard.rename(tmp_path / "elsewhere")
    found = run(Letters(), tmp_path)
    assert found.encoded == lost
    assert any("symbolic links" in note for note in found.notes)
    assert endless.is_symlink()


@pytest.mark.parametrize("windows", [1, 4])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_parts_of_the_encoding_give_the_bits_of_one_run_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: int, order: tuple[int, ...]
) -> None:
    """Whether parts are whole windows (one each is enough here) or some batches of each."""
    monkeypatch.setattr(embedding, "WINDOWS", windows)

    def batch_dependent(texts: list[str], vectors: np.ndarray) -> np.ndarray:
        return vectors * (1 + len(texts) * 1e-3)

    def encoder() -> Counting:
        return Counting(disturb=batch_dependent)

    whole = vectors(run(encoder(), tmp_path / "whole"))
    counts, seen = [], 0
    for part in order:
        one = encoder()
        request = EmbedRequest(tmp_path / "parts", batch_tokens=20)
        counts.append(encode_shard(one, request, Shard(part + 1, 3)))
        seen += sum(one.seen.values())
    assert sum(counts) == 27
    assert all(counts)
    assert seen == 27
    last = encoder()
    found = run(last, tmp_path / "parts")
    assert found.encoded == 0
    assert not last.seen
    assert vectors(found).tobytes() == whole.tobytes()


def encode_shard(encoder: Letters, request: EmbedRequest, shard: Shard) -> int:
    return VectorRetriever(encoder, request).encode_shard(collection(), shard, Silent())


def test_a_part_without_a_cache_is_refused() -> None:
    with pytest.raises(InputError, match=r"cache.*XLIR_CACHE"):
        encode_shard(Letters(), EmbedRequest(None), Shard(1, 2))


def test_a_part_that_cannot_be_kept_fails(tmp_path: Path) -> None:
    with read_only(tmp_path), pytest.raises(InputError, match="cannot write"):
        encode_shard(Letters(), EmbedRequest(tmp_path), Shard(1, 2))


def test_vectors_that_are_kept_nowhere_have_the_bits_of_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "FEW", 0.1)
    monkeypatch.setattr(vector_index, "BLOCK", 4)
    rng = np.random.default_rng(0)
    texts = {
        lang: tuple(
            f"{lang if n % 3 else ''} passage {n % 19}" + "x" * (n % 7) for n in range(size)
        )
        for lang, size in (("de", 31), ("en", 25))
    }
    plain = text_collection(
        {"de": ["was?", "wo?"], "en": ["one?", "two?", "x"]}, {"de": ["y"], "en": ["x"]}
    )
    relevance = {
        (asked, lang): Relevance(
            np.sort(rng.integers(0, len(plain.queries[asked].ids), 5)),
            rng.permutation(len(texts[lang]))[:5],
            np.ones(5, np.int64),
        )
        for asked in texts
        for lang in texts
    }
    passages = {
        lang: Passages(tuple(f"{lang}:{n}" for n in range(len(of_lang))), OnDisk(of_lang))
        for lang, of_lang in texts.items()
    }
    asked = replace(plain, passages=passages, relevance=relevance)

    def disturb(texts: list[str], vectors: np.ndarray) -> np.ndarray:
        return np.abs(vectors % [5, 3, 2, 2]) + np.float32(len(texts) * 1e-3)

    found, seen = [], []
    for request in (
        EmbedRequest(tmp_path, batch_tokens=60),
        EmbedRequest(None, batch_tokens=60, keep=False),
        EmbedRequest(None, batch_tokens=60, keep=False, vectors="float16"),
        EmbedRequest(tmp_path, batch_tokens=60, vectors="float16"),
    ):
        encoder = Counting(disturb=disturb)
        represented = VectorRetriever(encoder, request).represent(asked, Silent())
        settings = [
            Setting(lang, langs) for lang in texts for langs in (("de",), ("en",), ("de", "en"))
        ]
        wants = [
            Want.of(asked, [s for s in settings if s.query_lang == lang], 6, 9) for lang in texts
        ]
        found.append(
            [r for part in represented.index.search(wants, Silent()) for r in part.rankings()]
        )
        seen.append(encoder.seen)
        assert represented.encoded == len({t for of in texts.values() for t in of}) + 5
    for kept, passed in ((found[0], found[1]), (found[3], found[2])):
        for one, other in zip(kept, passed, strict=True):
            assert (one.rank == other.rank).all()
            assert (one.top == other.top).all()
            assert one.top_scores.tobytes() == other.top_scores.tobytes()
    assert max(seen[0].values()) == 1


class Idle:
    """An executor whose workers write elsewhere."""

    remote, workers, device, kinds = True, 2, "cpu", {}

    def run(self, job: Any, units: Any) -> Iterator[Done[int]]:
        return (Done(name, 1) for name, _ in units)


def test_vectors_that_are_not_seen_here_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SEEN_AFTER", (0, 0.01))
    workers = elsewhere.Elsewhere(Idle(), "builtin:ngram", EncoderOptions())
    request = EmbedRequest(tmp_path, elsewhere=workers)
    with pytest.raises(InputError, match=rf"^27 texts .*{re.escape(str(tmp_path))}.*XLIR_CACHE"):
        embed(collection(), Letters(), request, Silent())
