"""How an encoder is loaded and used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xlir_bench.options.stating import (
    MODEL,
    SEARCH,
    check_bounds,
    hold_parsed,
    offline_option,
    option,
    remote_code_option,
)

FUSED, RERANKED = "Several retrievers as one", "Re-ranking"
Dtype = Literal["float32", "float16", "bfloat16"]
SimilarityName = Literal["cosine", "dot", "model"]
Transform = Literal["centroids", "offsets", "whitening"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The options with which an encoder is loaded, as results record them; None: its own default."""

    query_prompt: str | None = option(
        "Text put before every query; '' for none.  [default: the model's own]", None, group=MODEL, decides=True
    )  # fmt: skip
    passage_prompt: str | None = option(
        "Text put before every passage; '' for none.  [default: the model's own]", None, group=MODEL, decides=True
    )  # fmt: skip
    revision: str | None = option(
        "Branch, tag or commit of a hub model.", None, group=MODEL, decides=True
    )
    dtype: Dtype = option(
        "What the model computes in.", "float32", group=MODEL, decides=True, in_recipes="encodings"
    )
    device: str | None = option(
        "Where the model runs.  [default: the best there is]", None, group=MODEL, metavar="cpu|cuda|mps"
    )  # fmt: skip
    max_length: int | None = option(
        "Cut texts to this length.  [default: the model's own]",
        None, group=MODEL, metavar="TOKENS", least=1, decides=True, in_recipes="encodings",
    )  # fmt: skip
    truncate_dim: int | None = option(
        "Keep the first N dimensions (Matryoshka models).",
        None, group=MODEL, metavar="N", least=1, decides=True, in_recipes="encodings",
    )  # fmt: skip
    trust_remote_code: bool = remote_code_option(MODEL)
    similarity: SimilarityName = option(
        "How vectors are compared: cosine, dot (inner product, without normalising), or model (the one of the two"
        " that the model's files name).",
        "cosine", group=SEARCH, decides=True,
    )  # fmt: skip
    transform: Transform | None = option(
        "Change vectors, without training, to remove what separates languages.", None, group=SEARCH, decides=True
    )  # fmt: skip
    transform_text: str | None = option(
        "Held-out parallel text from which --transform is estimated.  [default: the task's own texts]",
        None, group=SEARCH, metavar="FILE", decides=True, goes_with="transform",
    )  # fmt: skip
    fuse: tuple[str, ...] = option(
        "Also search with this model: the best passages of both are ranked by both together; may be given again.",
        (), group=FUSED, metavar="SPEC", many=True, decides=True,
    )  # fmt: skip
    fuse_weights: tuple[float, ...] | None = option(
        "Add up scores with these weights, that of --model first.  [default: reciprocal ranks are added up]",
        None, group=FUSED, metavar="W,W", least=0, decides=True, goes_with="fuse",
    )  # fmt: skip
    fuse_depth: int = option(
        "How many of its best passages each model contributes.",
        1000, group=FUSED, metavar="N", least=1, decides=True, goes_with="fuse",
    )  # fmt: skip
    rerank: str | None = option(
        "Re-order the best passages of every query by this cross encoder: a folder, a hub id or py:FILE:NAME.",
        None, group=RERANKED, metavar="SPEC", decides=True, in_recipes="recipe",
    )  # fmt: skip
    rerank_depth: int = option(
        "How many of the best passages --rerank re-orders.",
        100, group=RERANKED, metavar="K", least=1, decides=True, goes_with="rerank", in_recipes="recipe",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Take one value or a list for options that hold several values."""
        hold_parsed(self)
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class EncoderOptions(LoadOptions):
    """How an encoder is loaded and reached. Results do not record the options added here, which may hold secrets."""

    offline: bool = offline_option()
    api_key_env: str = option(
        "The environment variable with the key of an http: model.",  "OPENAI_API_KEY", metavar="NAME"
    )  # fmt: skip
    http_body: tuple[str, ...] = option(
        "More fields for the requests of an http: model, by role; may be given again.",
        (), group=MODEL, metavar="query=JSON|passage=JSON", many=True,
    )  # fmt: skip
