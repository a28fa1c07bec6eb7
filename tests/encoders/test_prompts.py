from __future__ import annotations

import re
from pathlib import Path

import pytest
from models import edit_json

from xlir_bench.encoders import EncoderOptions, describe, load_encoder
from xlir_bench.encoders.prompts import chosen, family_of

PLAIN = EncoderOptions()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("intfloat/e5-base-v2", "E5"),
        ("intfloat/multilingual-e5-small", "E5"),
        ("my-multilingual-e5-large-finetuned", "E5"),
        ("intfloat/multilingual-e5-large-instruct", "E5 instruct"),
        ("intfloat/e5-mistral-7b-instruct", "E5 instruct"),
        ("BAAI/bge-m3", "BGE M3"),
        ("BAAI/bge-small-en-v1.5", "BGE English"),
        ("BAAI/bge-large-zh-v1.5", "BGE Chinese"),
        ("BAAI/bge-multilingual-gemma2", "BGE Gemma"),
        ("Alibaba-NLP/gte-Qwen2-1.5B-instruct", "GTE Qwen"),
        ("Alibaba-NLP/gte-multilingual-base", "GTE"),
        ("thenlper/gte-large", "GTE"),
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3 Embedding"),
        ("nomic-ai/nomic-embed-text-v1.5", "Nomic"),
        ("nomic-ai/nomic-embed-text-v2-moe", "Nomic"),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "Arctic 2"),
        ("Snowflake/snowflake-arctic-embed-m-v1.5", "Arctic"),
        ("mixedbread-ai/mxbai-embed-large-v1", "mxbai"),
        ("mixedbread-ai/deepset-mxbai-embed-de-large-v1", "mxbai German"),
        ("jinaai/jina-embeddings-v3", "Jina 3"),
        ("google/embeddinggemma-300m", "EmbeddingGemma"),
        ("Salesforce/SFR-Embedding-Mistral", "Mistral instruct"),
        ("Linq-AI-Research/Linq-Embed-Mistral", "Mistral instruct"),
        ("sentence-transformers/LaBSE", None),
        ("sentence-transformers/all-MiniLM-L6-v2", None),
        ("FacebookAI/xlm-roberta-base", None),
        ("model-fe5-base", None),
    ],
)
def test_a_family_is_recognised_by_name(name: str, family: str | None) -> None:
    match = family_of([name])
    assert (match[0].name if match else None) == family


def test_registered_prompts_win_over_the_family() -> None:
    prompts = chosen(PLAIN, {"query": "Q: ", "document": "D: "}, None, ["multilingual-e5-small"])
    assert (prompts.query, prompts.passage) == ("Q: ", "D: ")
    assert re.search("'Q: '.*'D: '.*registers", prompts.notes[0])


def test_empty_registered_prompts_are_none() -> None:
    prompts = chosen(PLAIN, {"query": "", "document": ""}, None, ["multilingual-e5-small"])
    assert (prompts.query, prompts.passage) == ("query: ", "passage: ")
    (note,) = prompts.notes
    assert "E5" in note
    assert re.search("'query: '.*'passage: '.*'multilingual-e5-small'", note)


def test_prompts_that_only_the_name_of_a_folder_speaks_for_are_warned_of() -> None:
    (note,) = chosen(PLAIN, {}, None, ["my-e5-small"], "my-e5-small").notes
    assert note.startswith("warning: ")
    (note,) = chosen(PLAIN, {}, None, ["ours", "intfloat/e5-small"], "ours").notes
    assert note.startswith("prompts: ")


@pytest.mark.parametrize("name", ["document", "passage", "corpus", "retrieval.passage"])
def test_passage_prompts_are_found_under_every_usual_name(name: str) -> None:
    assert chosen(PLAIN, {"query": "q", "document": "", name: "p"}, None, []).passage == "p"


def test_a_model_that_registers_only_a_query_prompt_has_none_for_passages() -> None:
    prompts = chosen(PLAIN, {"query": "query: "}, None, ["multilingual-e5-small"])
    assert (prompts.query, prompts.passage) == ("query: ", "")


def test_a_default_prompt_under_another_name_is_for_both() -> None:
    prompts = chosen(PLAIN, {"retrieve": "R: ", "document": ""}, "retrieve", [])
    assert (prompts.query, prompts.passage) == ("R: ", "R: ")


def test_prompts_for_other_tasks_alone_are_told_and_left_out() -> None:
    prompts = chosen(PLAIN, {"STS": "sts: "}, None, ["something"])
    assert prompts.query == ""
    assert "only STS" in prompts.notes[0]


def test_what_is_asked_for_wins_even_if_it_is_empty() -> None:
    options = EncoderOptions(query_prompt="")
    prompts = chosen(options, {}, None, ["e5-small"])
    assert (prompts.query, prompts.passage) == ("", "passage: ")
    assert "--query-prompt" in prompts.notes[-1]
    both = chosen(EncoderOptions(query_prompt="a", passage_prompt="b"), {}, None, ["e5-small"])
    assert (both.query, both.passage) == ("a", "b")
    assert not any("E5" in note for note in both.notes)


def test_a_model_made_from_a_known_one_is_recognised_by_its_card(
    tiny_transformer: Path, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_transformer, tmp_path / "mine"))
    (folder / "README.md").write_text(
        "---\nlicense: mit\nbase_model:\n- intfloat/multilingual-e5-base\ntags: []\n---\n"
    )
    card = describe(load_encoder(str(folder)))
    assert (card.query_prompt, card.passage_prompt) == ("query: ", "passage: ")
    assert "intfloat/multilingual-e5-base" in card.notes[0]
    (folder / "README.md").write_text("---\nbase_model: 'BAAI/bge-base-en'\n---\n# base_model: x")
    assert describe(load_encoder(str(folder))).query_prompt.startswith("Represent this sentence")
    (folder / "README.md").unlink()
    assert re.match(r"prompts: none\b.*\bfamily\b", describe(load_encoder(str(folder))).notes[0])
    edit_json(folder / "config.json", _name_or_path="/data/models/nomic-embed-text-v1/")
    assert describe(load_encoder(str(folder))).passage_prompt == "search_document: "
