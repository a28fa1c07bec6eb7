"""The ONNX example of CONTRIBUTING.md gives the vectors that torch gives."""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from processes import begin
from test_contributing import example

from xlir_bench import RunOptions, evaluate
from xlir_bench.encoders import Encoder, describe, load_encoder

pytest.importorskip("onnxruntime")
TEXTS = [
    "How many people live in Berlin?",
    "Berlin has 3.8 million inhabitants.",
    "",
    "   ",
    "北京大学 iPhone手机",
    "كم عدد سكان برلين؟",
    "word " * 600,
]


def export(model: Path) -> int:
    """Run the script in this folder."""
    sys.argv[1:] = [str(model)]
    runpy.run_path("export_onnx.py", run_name="__main__")
    return 0


@pytest.fixture(scope="module")
def shallow(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 with the first two of its six layers, which are all made alike."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu")
    bert = model[0].auto_model
    bert.encoder.layer = bert.encoder.layer[:2]
    bert.config.num_hidden_layers = 2
    folder = tmp_path_factory.mktemp("models") / "shallow"
    model.save(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def exported(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's file, beside the model in ONNX."""
    pytest.importorskip("onnxscript", reason="only with it can torch export a model")
    folder = tmp_path_factory.mktemp("onnx")
    for name in ("export_onnx.py", "onnx_encoder.py"):
        (folder / name).write_text(example(f"# {name}"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        process = begin(partial(export, shallow), folder / "said")
    process.join(timeout=1200)
    assert process.exitcode == 0, (folder / "said").read_text(encoding="utf-8")
    return folder


@pytest.fixture
def by_onnx(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setattr(sys, "path", [*sys.path])
    return load_encoder(f"py:{exported / 'onnx_encoder.py'}:encode")


def test_vectors_are_those_of_torch(by_onnx: Encoder, shallow: Path) -> None:
    unit = []
    for encoder in (by_onnx, load_encoder(str(shallow))):
        vectors = encoder.encode(TEXTS, "query")
        assert vectors.shape == (len(TEXTS), 384)
        unit.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert (unit[0] * unit[1]).sum(axis=1).min() > 0.9999


def test_a_text_has_the_vector_that_it_has_alone(by_onnx: Encoder) -> None:
    alone = np.concatenate([by_onnx.encode([text], "query") for text in TEXTS])
    np.testing.assert_allclose(by_onnx.encode(TEXTS, "query"), alone, atol=1e-5)


def test_it_is_known_by_its_weights(by_onnx: Encoder) -> None:
    assert describe(by_onnx).notes == ()


def test_mini_has_the_map_of_torch(by_onnx: Encoder, shallow: Path) -> None:
    options = RunOptions(cache=None, data=None, measures=("map",), langs=("en", "zh"))
    one, other = (evaluate("mini", model, options).summary for model in (by_onnx, str(shallow)))
    assert len(one) == 3
    for kind, figures in one.items():
        assert figures["map"].mean == pytest.approx(other[kind]["map"].mean, abs=0.001)
