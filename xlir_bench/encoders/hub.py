"""Where the files of a model are: a folder, an installed package, or a snapshot of the Hugging Face hub."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xlir_bench.encoders.digest import files_digest, package_versions, short
from xlir_bench.encoders.layout import PICKLES, ModelLayout
from xlir_bench.encoders.libraries import quiet_hub
from xlir_bench.encoders.packaged import NOTE, packaged_folder
from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.files import FULL
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.places import expanded

NOT_WANTED = (
    *PICKLES,
    "*.joblib",
    *("*.onnx", "*.onnx_data", "onnx/*", "openvino/*", "coreml/*", "*.mlmodel", "*.tflite"),
    *("*.h5", "*.msgpack", "*.ot", "*.gguf", "*.png", "*.jpg", "*.jpeg", "*.gif"),
)
"""Weights of other libraries, pickles and pictures are not downloaded."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
SNAPSHOT = re.compile(r"models--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}$")
GENERIC = re.compile(
    r"model|final|best|last|output|latest|epoch\W?\d*|checkpoint\W?\d*|step\W?\d+", re.I
)
"""Folder names that say nothing without the name of the folder above."""
ORGANISATION = "sentence-transformers"
"""The owner of a hub id without one."""


@dataclass(frozen=True)
class Place:
    """A model's folder, what to call it, and what its files say."""

    folder: Path
    name: str
    stem: str
    """The beginning of its slug."""
    local: bool
    notes: tuple[str, ...] = ()
    guessed: bool = False
    """Whether `name` is only the name of a local folder, which anyone can choose."""

    @cached_property
    def layout(self) -> ModelLayout:
        """What its files say."""
        return ModelLayout(self.folder)

    @cached_property
    def weights_digest(self) -> str:
        """The digest of the files of its weights: identifies a checkpoint."""
        return files_digest(self.folder, self.layout.weights)

    @property
    def slug_stem(self) -> str:
        """The beginning of its slug; in that of a local folder a piece of the weights' digest tells checkpoints apart."""
        return f"{self.stem}-{short(self.weights_digest)}" if self.local else self.stem

    def decisive(self, options: EncoderOptions, device: str) -> dict[str, Any]:
        """The parts that every kind of model has in its fingerprint: all that decides the numbers it gives."""
        return {
            "weights": self.weights_digest,
            "files": files_digest(self.folder, self.layout.configuration),
            "dtype": options.dtype,
            "remote_code": options.trust_remote_code,
            "device": device.partition(":")[0],
            "versions": package_versions(),
        }


def locate(spec: str, options: EncoderOptions) -> Place:
    """The model of a path, a ``package:`` or a hub id; downloads a model of the hub that is not on this machine."""
    path = expanded(spec)
    if spec.startswith("package:") and not path.exists():
        name = spec.removeprefix("package:")
        return Place(packaged_folder(name), name, name, True, (NOTE,))
    if path.is_dir():
        return _local(path, options)
    if path.exists():
        raise InputError(
            f"{spec} is a file; give a folder or a hub id (owner/name), or py:{spec}:NAME of a file of Python"
        )
    if not HUB_ID.fullmatch(spec):
        raise InputError(
            f"no model folder {spec!r} here{near_misses(path)}; give a folder or a hub id (owner/name)"
        )
    return _from_hub(spec, options)


def near_misses(path: Path, suffix: str = "") -> str:
    """What to add to the message that `path` does not exist: similar names in the nearest folder above it that does.

    They are names of folders, or with a `suffix` of files that end with it.
    """
    absolute = path.absolute()
    parent = next(p for p in absolute.parents if p.is_dir())
    wanted = absolute.relative_to(parent).parts[0]
    if parent != absolute.parent:
        suffix = ""
    try:
        entries = [p for p in parent.iterdir() if (p.suffix == suffix if suffix else p.is_dir())]
    except OSError:
        return ""
    names = sorted(p.name.removesuffix(suffix) for p in entries)
    near = difflib.get_close_matches(wanted.removesuffix(suffix), names, n=3)
    if near:
        return f" (did you mean {' or '.join(f'{parent / name}{suffix}' for name in near)}?)"
    return "" if parent == absolute.parent else f" (there is not even {parent / wanted})"


def _local(path: Path, options: EncoderOptions) -> Place:
    resolved = Path(os.path.normpath(path.absolute()))
    ignored = "--revision has no effect on a local folder and was ignored"
    notes = (ignored,) if options.revision else ()
    if cached := SNAPSHOT.search(str(resolved)):
        return Place(path, cached[1].replace("--", "/"), cached[1], True, notes)
    name = stem = resolved.name or "root"
    if GENERIC.fullmatch(stem) and resolved.parent.name:
        name = f"{resolved.parent.name}/{stem}"
    return Place(path, name, stem, True, notes, guessed=True)


def _from_hub(spec: str, options: EncoderOptions) -> Place:
    failures: list[OutOfReachError] = []
    for hub_id in [spec] if "/" in spec else [f"{ORGANISATION}/{spec}", spec]:
        try:
            folder = _snapshot(hub_id, options)
        except OutOfReachError as error:
            failures.append(error)
            continue
        stem = hub_id.replace("/", "__")
        if options.revision not in (None, "main"):
            is_commit = re.fullmatch("[0-9a-f]{40}", options.revision)
            stem += f"--{options.revision[:12] if is_commit else options.revision}"
        return Place(folder, hub_id, stem, False, (f"hub: commit {folder.name}",))
    # A spec without a slash may be a folder whose name is misspelt.
    near = "" if "/" in spec else near_misses(Path(spec))
    raise OutOfReachError(f"{failures[0]}{near}") from failures[0]


def _snapshot(hub_id: str, options: EncoderOptions) -> Path:
    from huggingface_hub import constants, errors, snapshot_download

    how: Any = {"revision": options.revision, "local_files_only": options.offline}
    try:
        with quiet_hub():
            return Path(snapshot_download(hub_id, ignore_patterns=list(NOT_WANTED), **how))
    except Exception as caught:
        error: Any = caught
    model, cache = f"model {hub_id!r}", constants.HF_HUB_CACHE
    at = f"{model} at {constants.ENDPOINT}"
    kind: type[XlirError] = OutOfReachError
    incomplete: Any = getattr(errors, "IncompleteSnapshotError", ())
    if isinstance(error, errors.GatedRepoError):
        why = f"{at} is gated: accept its terms there, then log in with `hf auth login` (or set HF_TOKEN)"
    elif isinstance(error, errors.RepositoryNotFoundError):
        why = f"there is no {at}, and no such folder: check the name, or log in with `hf auth login` if it is private"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"{at} has no --revision {options.revision}"
    elif isinstance(error, errors.HFValidationError):
        kind, why = InputError, f"{hub_id!r} is neither a folder nor a hub id (owner/name)"
    elif isinstance(error, incomplete):
        # Another program may have fetched only some files: enough, if weights and configuration are among them.
        folder = Path(error.snapshot_path)
        if any(folder.rglob("*.safetensors")) and any(folder.rglob("*config.json")):
            return folder
        why = f"{model} is cached in part ({folder}), and the hub cannot be reached: connect once, or give a folder"
    elif isinstance(error, OSError) and error.errno in FULL:
        kind, why = XlirError, f"disk full: {at} does not fit in {cache}"
    elif options.offline or constants.HF_HUB_OFFLINE:
        why = f"{model} is no folder here and not in {cache}, and this run is offline: run once online, or give a folder"
    else:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split("\n")[0].split()) or type(cause).__name__
        hub = f"the hub ({constants.ENDPOINT}) cannot be reached: {reason}"
        why = f"{model} is no folder here and {hub}; check the network, or give a folder"
    raise kind(why) from error
