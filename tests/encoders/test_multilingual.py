"""`builtin:multilingual`: loads offline without torch, gives the vectors of the model that was trained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from evaluation.plain import full_small

from xlir_bench.encoders import EncoderOptions, describe, load_encoder
from xlir_bench.encoders.builtin import VOCABULARY, WEIGHTS
from xlir_bench.evaluation import RunOptions, evaluate
from xlir_bench.rendering.document import render
from xlir_bench.reports.tables import CHOSEN_ON_IT, report
from xlir_bench.results import Result
from xlir_bench.tasks import tasks_folder

ENCODER = load_encoder("builtin:multilingual")
LANGS = ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]
FOLDER = ENCODER.folder  # type: ignore[attr-defined]
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")

PROBE = """
import sys
from xlir_bench.encoders import load_encoder
encoder = load_encoder("builtin:multilingual")
vectors = encoder.encode(["Where is the library?", "图书馆在哪里？"], "query")
heavy = {"torch", "transformers", "sentence_transformers"} & set(sys.modules)
print(vectors.shape[0], len(heavy))
"""


def questions() -> list[str]:
    """Some real text in each language."""
    found = []
    for lang in LANGS:
        stated = json.loads((tasks_folder() / f"mini/{lang}.json").read_text(encoding="utf-8"))
        paragraphs = [p for article in stated["data"] for p in article["paragraphs"]]
        found += [q["question"] for p in paragraphs for q in p["qas"]][:20]
        found += [p["context"] for p in paragraphs][:5]
    return found


def test_it_loads_offline_and_without_torch(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert said.stdout.split() == ["2", "0"]


def test_its_files_are_at_most_16_megabytes_and_no_pickle() -> None:
    found = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} <= {".safetensors", ".json", ".toml", ".md", ""}
    assert sum(path.stat().st_size for path in found) <= 16_000_000


def test_its_vectors_are_those_of_the_model_that_training_wrote(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    for name in (WEIGHTS, VOCABULARY):
        shutil.copy(FOLDER / name, tmp_path)
    kind = "sentence_transformers.sentence_transformer.modules.StaticEmbedding"
    stated = [{"idx": 0, "name": "0", "path": "", "type": kind}]
    (tmp_path / "modules.json").write_text(json.dumps(stated))
    model = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    texts = [*questions(), "", "\n", "x" * 5000, "🙂 …"]
    assert np.abs(model.encode(texts) - ENCODER.encode(texts, "query")).max() < 1e-5


def test_a_vector_depends_on_its_text_alone() -> None:
    texts = questions()
    whole = ENCODER.encode(texts, "query")
    assert np.array_equal(whole[7:9], ENCODER.encode(texts[7:9], "passage"))
    assert not ENCODER.encode([""], "query").any()


def test_its_card_names_its_weights_and_tokens_are_counted() -> None:
    card = describe(ENCODER)
    assert (card.kind, card.slug) == ("builtin", "builtin-multilingual")
    assert card.weights_digest is not None
    noted = load_encoder("builtin:multilingual", EncoderOptions(query_prompt="Query: "))
    assert re.match(r"--query-prompt\b.*\bignored", describe(noted).notes[0])
    counts = ENCODER.count_tokens(["A storm came.", ""], "query")  # type: ignore[attr-defined]
    assert counts.tokens[0] >= 3
    assert (counts.tokens[1], counts.unknown.sum()) == (0, 0)


@cache
def on_mini() -> Result:
    return evaluate("mini", ENCODER, RunOptions(measures=("map",), cache=None))


@pytest.mark.parametrize("kind", ["monolingual", "cross-lingual", "multilingual"])
def test_its_card_states_what_it_scores_on_mini(kind: str) -> None:
    row = re.search(r"^\| `mini` \| (.*) \|$", CARD, re.MULTILINE)
    assert row is not None
    stated = dict(
        zip(("monolingual", "cross-lingual", "multilingual"), row[1].split(" | "), strict=False)
    )
    assert f"{on_mini().score(kind):.4f}".lstrip("0") == stated[kind]


def test_a_result_says_that_its_settings_were_chosen_on_mini_as_its_card_does() -> None:
    assert re.search(r"\*\*.*\bsettings\b.*\bchosen\b.*`mini`\*\*", CARD)
    found = on_mini().record
    assert found.encoder.chosen_on == ["mini"]
    assert CHOSEN_ON_IT in render(report(found))
    assert CHOSEN_ON_IT not in render(report(full_small().record))


def test_its_card_names_every_source_with_its_licence() -> None:
    for source, licence in {
        "NTREX-128": "CC BY-SA 4.0",
        "Tatoeba": "CC BY 2.0 FR",
        "TICO-19": "CC0",
        "mini-train": "CC0",
    }.items():
        (line,) = [x for x in CARD.splitlines() if x.startswith("|") and source in x]
        assert licence in line
