from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xlir_bench.encoders import EncoderOptions, StoredVectors, describe, load_encoder
from xlir_bench.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my vectors"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name, dtype in [("query.en", "f4"), ("query.de", "f2"), ("passage.en", "f8")]:
        np.save(root / f"{name}.npy", rng.standard_normal((5, 8)).astype(dtype))
    return root


def load(folder: Path) -> StoredVectors:
    encoder = load_encoder(f"npy:{folder}")
    assert isinstance(encoder, StoredVectors)
    return encoder


def test_vectors_are_read_as_float32_and_mapped_where_they_are(folder: Path) -> None:
    encoder = load(folder)
    assert encoder.dimension == 8
    assert isinstance(encoder.vectors("query", "en", 5), np.memmap)
    for role, lang in [("query", "de"), ("passage", "en")]:
        vectors = encoder.vectors(role, lang, 5)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, np.load(folder / f"{role}.{lang}.npy"), rtol=1e-6)


def test_the_card_names_the_folder_and_the_bytes(folder: Path) -> None:
    card = describe(load_encoder(f"npy:{folder}", EncoderOptions(max_length=3)))
    assert (card.name, card.kind) == ("my vectors", "vectors")
    assert card.slug.startswith("npy-my_20vectors-")
    assert "--max-length" in card.notes[0]
    before = load(folder).fingerprint
    (folder / "notes.txt").write_text("not a vector")
    assert load(folder).fingerprint == before
    np.save(folder / "query.en.npy", np.zeros((5, 8), np.float32))
    assert load(folder).fingerprint != before


@pytest.mark.parametrize("count", [4, 6])
def test_another_number_of_rows_names_both_numbers(folder: Path, count: int) -> None:
    with pytest.raises(InputError, match=rf"query\.en\.npy .*\b5\b.*\b{count}\b"):
        load(folder).vectors("query", "en", count)


def test_an_absent_language_says_what_there_is(folder: Path) -> None:
    with pytest.raises(InputError, match=r"passage\.de\.npy .*passage\.en\.npy.*--langs"):
        load(folder).vectors("passage", "de", 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 8), np.int32), "not of float16, float32, float64"),
        (np.zeros(5, np.float32), r"shape \(5,\)"),
        (np.zeros((5, 9), np.float32), r"9 numbers.*8"),
        (np.zeros((5, 8), ">f4"), "float16, float32, float64"),
        (np.array([[object()]]), "is no array"),
    ],
)
def test_a_file_of_another_kind_is_an_error_at_once(
    folder: Path, array: np.ndarray, message: str
) -> None:
    np.save(folder / "query.xx.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_a_broken_file_is_an_error(folder: Path) -> None:
    (folder / "query.xx.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="is no array"):
        load(folder)


def test_a_folder_without_vectors_or_no_folder_is_an_error(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no query"):
        load(tmp_path / "empty")
    with pytest.raises(InputError, match=r"my vector'.*my vectors\b"):
        load(tmp_path / "my vector")


def test_stored_vectors_encode_no_texts(folder: Path) -> None:
    with pytest.raises(InputError, match="cannot encode others"):
        load(folder).encode(["new"], "query")
