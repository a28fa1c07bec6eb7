"""The teacher of `--loss distil`: its vectors of the rows' texts in one language, and the projection to its space."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import Dense

from xlir_bench.arrays import slices
from xlir_bench.encoders import checked, load_encoder
from xlir_bench.encoders.check import quoted
from xlir_bench.errors import InputError, named_by
from xlir_bench.files import replacing
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.training import TrainOptions
from xlir_bench.records import Floats, Ints, Progress, Role
from xlir_bench.train.bases import Base
from xlir_bench.train.folder import write_array, write_json
from xlir_bench.train.row_files import source_digest
from xlir_bench.train.row_store import ANSWER, PAGE, QUESTION, Flags, Keys, RowStore
from xlir_bench.train.rows import text_key
from xlir_bench.untrusted import read_array, read_json, table_rows

KEYS, VECTORS, CONTENTS = "teacher-keys.npy", "teacher.npy", "teacher.json"
TOGETHER = 32
"""Texts that the teacher encodes at a time."""


@dataclass(frozen=True)
class Teacher:
    """The teacher's vectors of texts, in a folder; memory-mapped."""

    folder: Path
    lang: str
    """The language of these texts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Teacher, (self.folder, self.lang)  # without the mapped arrays, as in `RowStore`

    @cached_property
    def _keys(self) -> Keys:
        return read_array(self.folder / KEYS)

    @cached_property
    def _vectors(self) -> Floats:
        return read_array(self.folder / VECTORS, mapped=True)

    @property
    def dimension(self) -> int:
        """The number of dimensions of its vectors."""
        return int(self._vectors.shape[1])

    @property
    def stated(self) -> dict[str, str]:
        """The teacher's name and digest."""
        return read_json(self.folder / CONTENTS, dict[str, str], "what is known of a teacher")

    def keys_of(self, store: RowStore, rows: Ints) -> Keys:
        """``[row, question or answer]``: the keys of the rows' texts in the teacher's language, 0 if there is no text."""
        lang = store.languages.index(self.lang)
        return store.keys[rows][:, [QUESTION, ANSWER], lang]

    def of(self, keys: Keys) -> Floats:
        """The vectors of the texts with these keys; zeros for texts that the teacher did not encode."""
        place, known = _places(self._keys, keys)
        return self._vectors[place] * known[..., None]


def teach(
    options: TrainOptions, store: RowStore, rows: Ints, folder: Path, progress: Progress
) -> Teacher:
    """The teacher's vectors of the rows' texts in its language; vectors in the folder from an earlier run are used again."""
    wanted = _texts(options, store, rows)
    keys = np.sort(np.array(list(wanted), np.uint64))
    spec = options.teacher or ""
    if Path(spec).is_file():
        stated = {"name": spec, "digest": source_digest(spec)}
        pages = _stored(Path(spec))
    else:
        how = EncoderOptions(
            device=options.device,
            offline=options.offline,
            trust_remote_code=options.trust_remote_code,
        )
        with named_by("--teacher"):
            encoder: Any = load_encoder(spec, how)
        stated = {"name": encoder.name, "digest": encoder.fingerprint}
        if not hasattr(encoder, "encode"):
            raise InputError(
                f"--teacher {spec} cannot encode texts: name a model or a parquet file"
            )
        pages = _encoded(encoder, wanted)
    teacher = Teacher(folder, options.teacher_lang)
    kept = (folder / CONTENTS).is_file() and teacher.stated == stated
    if kept and np.array_equal(read_array(folder / KEYS), keys):
        return teacher
    (folder / CONTENTS).unlink(missing_ok=True)
    progress.start("teacher's vectors", len(keys), "texts")
    vectors: Any = None
    missing = np.ones(len(keys), bool)
    with replacing(folder / VECTORS) as temporary:
        for page_keys, page_vectors in pages:
            place, known = _places(keys, page_keys)
            if vectors is None:
                shape = (len(keys), page_vectors.shape[1])
                vectors = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            vectors[place[known]] = page_vectors[known]
            missing[place[known]] = False
            progress.advance(int(known.sum()))
        if missing.any():
            first = next(text for key, (text, _) in wanted.items() if key in keys[missing])
            raise InputError(
                f"--teacher {spec} has no vector of {missing.sum():,} of {len(keys):,} texts in"
                f" {options.teacher_lang}, such as {quoted(first)}"
            )
        vectors.flush()
        vectors = None  # Windows cannot rename a mapped file
    progress.finish()
    write_array(folder / KEYS, keys)
    write_json(folder / CONTENTS, stated)
    return teacher


def _places(keys: Keys, wanted: Keys) -> tuple[Ints, Flags]:
    """The place of each wanted key among the sorted `keys`, and whether it is there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted


def _texts(options: TrainOptions, store: RowStore, rows: Ints) -> dict[int, tuple[str, Role]]:
    """By key, each text of the rows in the teacher's language, with its role."""
    name, texts = options.teacher_lang, dict[int, tuple[str, Role]]()
    sides: tuple[tuple[int, Role], ...] = ((QUESTION, "query"), (ANSWER, "passage"))
    if name in store.languages:
        lang = store.languages.index(name)
        for side, role in sides:
            for page in slices(len(rows), PAGE):
                with_text = rows[page][store.keys[rows[page], side, lang] != 0]
                for text in store.fetch(with_text, side, np.full(len(with_text), lang)):
                    texts.setdefault(text_key(text), (text, role))
    if not texts:
        raise InputError(
            f"--loss distil: no row has a text in {name} (--teacher-lang); rows have {', '.join(store.languages)}"
        )
    return texts


def _encoded(encoder: Any, texts: dict[int, tuple[str, Role]]) -> Iterator[tuple[Keys, Floats]]:
    """Keys and vectors of texts from an encoder; a batch has texts of similar length."""
    for wanted in ("query", "passage"):
        keys = [key for key, (_, role) in texts.items() if role == wanted]
        keys.sort(key=lambda key: len(texts[key][0]))
        for together in slices(len(keys), TOGETHER):
            batch = [texts[key][0] for key in keys[together]]
            vectors = checked(encoder.encode(batch, wanted), batch, encoder.dimension)
            yield np.array(keys[together], np.uint64), vectors


def _stored(path: Path) -> Iterator[tuple[Keys, Floats]]:
    """Keys and vectors of texts from a parquet file with the columns ``text`` and ``vector``."""
    width = None
    try:
        for number, row in table_rows(path):
            text, vector = row.get("text"), row.get("vector")
            if not isinstance(text, str) or not isinstance(vector, Sequence):
                raise ValueError(f"has no `text`, or no numbers as its `vector`, in row {number}")
            vectors = checked([vector], [text], width)
            width = vectors.shape[1]
            yield np.array([text_key(text)], np.uint64), vectors
    except ValueError as error:
        raise InputError(f"--teacher {path} {error}") from error


class Projection(Dense):  # type: ignore[misc]
    """A linear layer behind a model; its output is appended to the model's own vectors."""

    @classmethod
    def new(cls, width: int, target: int, seed: int) -> Projection:
        """A random projection, or the identity if the widths are equal."""
        rng = np.random.default_rng([seed, width, target])
        weight = rng.standard_normal((target, width), dtype=np.float32) / np.sqrt(width)
        if width == target:
            weight = np.eye(width)
        projection = cls(width, target, bias=False, activation_function=None)
        projection.linear.weight.data = torch.from_numpy(weight.astype(np.float32))
        return projection

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """The model's vectors, each followed by its projection."""
        vectors = features["sentence_embedding"]
        features["sentence_embedding"] = torch.cat([vectors, self.linear(vectors)], dim=1)
        return features


def project(base: Base, dimension: int, stored: Path, seed: int) -> Base:
    """The base with a projection behind it: the one in the folder `stored`, from its own training, if there is one."""
    width = base.model.get_embedding_dimension()
    note = f"during training a projection took its {width} dimensions to the teacher's {dimension}"
    projection = Projection.new(width, dimension, seed)
    if (stored / "config.json").is_file():
        projection = Projection.load(str(stored), local_files_only=True)
        note += ", beginning with the projection of the base's own training"
        if (projection.in_features, projection.out_features) != (width, dimension):
            raise InputError(
                f"{stored} projects {projection.in_features} dimensions to {projection.out_features}, but {width} to"
                f" {dimension} are needed: give the teacher of that training, or remove the folder"
            )
    base.model.append(projection)
    return replace(
        base, notes=(*base.notes, note), finished=lambda model: base.finished(_without(model))
    )


def _without(model: Any) -> Any:
    """The model without its last module; both share all other weights."""
    shown = copy.copy(model)
    shown._modules = dict(list(model._modules.items())[:-1])
    return shown
