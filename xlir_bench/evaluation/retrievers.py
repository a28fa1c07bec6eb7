"""Make the retriever that a user names; refuse options that do not fit together before anything is encoded."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, replace

from xlir_bench.encoders import EncoderCard, as_encoder, load_reranker
from xlir_bench.encoders.bm25 import BM25
from xlir_bench.encoders.digest import fingerprint, short, slug
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS
from xlir_bench.encoders.python import instance, own_code, python_target
from xlir_bench.encoders.vectors import StoredVectors
from xlir_bench.errors import InputError, named_by
from xlir_bench.executor import LOCAL, Executor
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.running import CPU, EXACT, RunOptions
from xlir_bench.options.stating import options_of
from xlir_bench.records import Collection, Progress, Silent
from xlir_bench.retrieval import (
    BM25Retriever,
    Dense,
    EmbedRequest,
    FusedRetriever,
    Represented,
    RerankedRetriever,
    Retriever,
    StoredRetriever,
    TransformedRetriever,
    VectorRetriever,
    similarity_of,
)
from xlir_bench.retrieval.elsewhere import Elsewhere, engine_for, on_device
from xlir_bench.retrieval.tiles import NUMBA
from xlir_bench.sources import load_collection
from xlir_bench.tasks import catalogue


def as_retriever(
    encoder: object,
    encoder_options: EncoderOptions,
    options: RunOptions,
    executor: Executor = LOCAL,
) -> Retriever:
    """The retriever for an encoder, or for an existing retriever, with these options; `executor` does its work."""
    _refuse_together(encoder_options, options)
    if encoder_options.rerank is not None:
        alone = replace(encoder_options, rerank=None, rerank_depth=DEFAULT_OPTIONS.rerank_depth)
        first = as_retriever(encoder, alone, options, executor)
        with named_by("--rerank"):
            reranker = load_reranker(encoder_options.rerank, encoder_options)
        request = EmbedRequest(options.cache, options.batch_tokens)
        return RerankedRetriever(first, reranker, encoder_options.rerank_depth, request)
    if encoder_options.fuse:
        depth = DEFAULT_OPTIONS.fuse_depth
        alone = replace(encoder_options, fuse=(), fuse_weights=None, fuse_depth=depth)
        parts = [as_retriever(encoder, alone, options, executor)]
        with named_by("--fuse"):
            parts += [as_retriever(each, alone, options, executor) for each in encoder_options.fuse]
        return FusedRetriever(
            tuple(parts), encoder_options.fuse_depth, encoder_options.fuse_weights
        )
    return _of_one(encoder, encoder_options, options, executor)


@dataclass(frozen=True, slots=True)
class PythonRetriever(Retriever):
    """A retriever of the user's own, with the digest of the file that its code is in."""

    name: str
    inner: Retriever
    digest: str

    @property
    def card(self) -> EncoderCard:
        """The card that it states, with a slug and a fingerprint that also change with its file."""
        with own_code(self.name, "card"):
            stated = self.inner.card
        if not isinstance(stated, EncoderCard):
            raise InputError(f"{self.name}: card is a {type(stated).__name__}, no EncoderCard")
        parts = {"kind": "python", "name": self.name, "source": self.digest}
        combined = fingerprint(parts | {"stated": stated.fingerprint})
        return replace(stated, slug=slug(f"py-{self.name}-{short(combined)}"), fingerprint=combined)

    @property
    def parts(self) -> tuple[Retriever]:
        """The user's retriever."""
        return (self.inner,)

    def represent(self, collection: Collection, progress: Progress) -> Represented:
        """As the user's retriever does."""
        with own_code(self.name, "represent"):
            represented = self.inner.represent(collection, progress)
        if not isinstance(represented, Represented):
            given = type(represented).__name__
            raise InputError(f"{self.name}: represent gave a {given}, no Represented")
        return represented


def _of_one(
    encoder: object, encoder_options: EncoderOptions, options: RunOptions, executor: Executor
) -> Retriever:
    """The retriever for one encoder, which is loaded here, or an existing retriever as it is."""
    thing = encoder
    if isinstance(encoder, str) and encoder.startswith("py:"):
        thing = python_target(encoder.removeprefix("py:"))
        name, target, digest = thing
        is_class = inspect.isclass(target) and issubclass(target, Retriever)
        if is_class or isinstance(target, Retriever):
            thing = PythonRetriever(name, instance(name, target), digest)
    if isinstance(thing, Retriever):
        _refuse_late(thing.card.name, encoder_options, options)
        return thing
    encoder_options = on_device(encoder_options, executor)
    loaded = as_encoder(thing, encoder_options)
    if isinstance(loaded, BM25):
        _refuse_unfit(loaded.name, encoder_options, options, is_dense=False, is_encoded=False)
        return BM25Retriever(loaded)
    similarity = similarity_of(encoder_options.similarity, loaded)
    is_encoded = not isinstance(loaded, StoredVectors)
    is_dense = similarity.form == "dense"
    _refuse_unfit(loaded.name, encoder_options, options, is_dense, is_encoded)
    # Workers compare the vectors that they encode, each on its own device; transformed vectors are compared here.
    by_workers, transformed = executor.remote and is_encoded, encoder_options.transform is not None
    engine = NUMBA if by_workers and not transformed else engine_for(options.search_device)
    retriever: Retriever
    if isinstance(loaded, StoredVectors):
        retriever = StoredRetriever(loaded, options.limit is not None, similarity, engine)
    else:
        elsewhere = None
        if by_workers:
            if options.search_device.partition(":")[0] not in (CPU, executor.device):
                raise InputError(
                    f"--search-device {options.search_device}: workers have {executor.device}: leave the option out, or"
                    f" give {executor.device}"
                )
            if not isinstance(encoder, str | os.PathLike) or options.cache is None:
                raise InputError(
                    f"{loaded.name}: workers need an encoder that is named by a spec, and a cache to write vectors into"
                )
            elsewhere = Elsewhere(
                executor, os.fspath(encoder), encoder_options, options.search_device
            )
        request = EmbedRequest(
            options.cache, options.batch_tokens, options.vectors, similarity, engine, elsewhere,
            options.keep_vectors,
        )  # fmt: skip
        retriever = VectorRetriever(loaded, request)
    if encoder_options.transform is None:
        return retriever
    if similarity != Dense():
        raise InputError(
            f"--transform is for dense vectors that are compared by cosine; those of {loaded.name} are not"
        )
    text = _held_out(encoder_options.transform_text, options)
    return TransformedRetriever(retriever, encoder_options.transform, text)


def _refuse_together(encoder_options: EncoderOptions, options: RunOptions) -> None:
    """Refuse options that exclude each other or need another option, whatever the encoder is."""
    if not all(str(spec).strip() for spec in encoder_options.fuse):
        raise InputError("--fuse is empty: give a folder, a hub id or a prefix like builtin:bm25")
    reranked, fused = encoder_options.rerank is not None, bool(encoder_options.fuse)
    transformed = encoder_options.transform is not None
    by_flag = {"--rerank": reranked, "--fuse": fused, "--transform": transformed}
    rereading = [flag for flag, is_given in by_flag.items() if is_given]
    if rereading and not options.keep_vectors:
        raise InputError(
            f"{rereading[0]} reads vectors more than once: leave --no-keep-vectors out"
        )
    if fused and options.index != EXACT:
        raise InputError(
            f"--index {options.index!r} needs vectors, and --fuse combines rankings without vectors: leave one of them out"
        )
    for o in options_of(EncoderOptions):
        is_given = getattr(encoder_options, o.name) != o.default
        if o.goes_with and is_given and not getattr(encoder_options, o.goes_with):
            raise InputError(f"--{o.flag} needs --{o.goes_with}, which is not given")


def _refuse_late(name: str, encoder_options: EncoderOptions, options: RunOptions) -> None:
    """Refuse options that decide how a retriever is made: they would do nothing, and the result would state them."""
    of_run = [(options, o) for o in options_of(RunOptions) if o.makes_retriever]
    of_encoder = [(encoder_options, o) for o in options_of(EncoderOptions) if o.decides]
    late = [
        f"--{'no-' * (o.default is True)}{o.flag}"
        for record, o in (*of_run, *of_encoder)
        if getattr(record, o.name) != o.default
    ]
    if late:
        raise InputError(
            f"{', '.join(late)}: {name} is an existing retriever, which no option of making one can change:"
            " leave these options out, or give an encoder or its spec"
        )


def _refuse_unfit(
    name: str,
    encoder_options: EncoderOptions,
    options: RunOptions,
    is_dense: bool,
    is_encoded: bool,
) -> None:
    """Refuse options that this encoder ignores: they would do nothing, and the result would state them."""
    dense = is_dense, f"dense vectors, and {name} has none"
    encoded = is_encoded, f"texts that are encoded, and those of {name} are not"
    for flag, is_given, (fits, what) in (
        (f"--index {options.index!r}", options.index != EXACT, dense),
        (f"--search-device {options.search_device}", options.search_device != CPU, dense),
        ("--transform", encoder_options.transform is not None, dense),
        ("--no-keep-vectors", not options.keep_vectors, dense),
        ("--no-keep-vectors", not options.keep_vectors, encoded),
        (f"--vectors {options.vectors}", options.vectors != "float32", encoded),
        ("--transform-text", encoder_options.transform_text is not None, encoded),
    ):
        if is_given and not fits:
            raise InputError(f"{flag} is for {what}: leave it out")


def _held_out(path: str | None, options: RunOptions) -> Collection | None:
    """The parallel text of `--transform-text`."""
    if path is None:
        return None
    (task,) = catalogue().get([f"parallel:{path}"])
    return load_collection(task, RunOptions(data=options.data, cache=options.cache), Silent())
