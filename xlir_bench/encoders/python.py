"""Encoders of the user's own: ``py:<file-or-module>:<attribute>``, or any callable in memory."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xlir_bench.encoders.check import as_floats, checked
from xlir_bench.encoders.digest import fingerprint, short
from xlir_bench.encoders.hub import near_misses
from xlir_bench.encoders.options import DEFAULT_OPTIONS, unused_notes
from xlir_bench.encoders.probes import PROBES, probed_fingerprint
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.slugs import slug
from xlir_bench.errors import InputError, UnknownNameError, XlirError
from xlir_bench.files import file_digest
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import ROLES, Floats, Role


class PythonEncoder:
    """Calls a function ``encode(texts, role)``, or that method of a class, made when it is first needed."""

    kind = "python"

    def __init__(
        self, name: str, target: Any, source: str | None, options: EncoderOptions = DEFAULT_OPTIONS
    ) -> None:
        if not callable(target) and not callable(getattr(target, "encode", None)):
            raise InputError(
                f"{name} is neither a function encode(texts, role) nor a class with that method, "
                f"but {type(target).__name__}"
            )
        if inspect.isclass(target) and not callable(getattr(target, "encode", None)):
            raise InputError(f"class {name} has no method encode(texts, role)")
        self.name = name
        self._target = target
        self._source = source
        self._options = options

    @cached_property
    def fingerprint(self) -> str:
        """Of the file the code stands in, and of its own attribute `fingerprint` if it is a string.

        A callable in memory has no file that says what it closes over: the vectors of a few texts stand in.
        """
        stated = getattr(self._target, "fingerprint", None)
        parts: dict[str, Any] = {"kind": self.kind, "name": self.name, "source": self._source}
        if isinstance(stated, str):
            parts["stated"] = stated
        elif self._source is None:
            vectors = [checked(self.encode(PROBES, role), PROBES) for role in ROLES]
            return probed_fingerprint(parts, np.concatenate(vectors, axis=1))
        return fingerprint(parts)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        known = "the digest of its file" if self._source else "the vectors of a few texts"
        note = f"known by {known}; what it loads besides is told apart only by an attribute `fingerprint`"
        stated = isinstance(getattr(self._target, "fingerprint", None), str)
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            slug=slug(f"py-{self.name}-{short(self.fingerprint)}"),
            fingerprint=self.fingerprint,
            notes=(() if stated else (note,)) + unused_notes(self._options, self.kind),
        )

    @cached_property
    def dimension(self) -> int:
        """What it says of itself, else the length of one vector."""
        stated = getattr(self._instance, "dimension", None)
        if isinstance(stated, int):
            return stated
        return int(checked(self.encode(PROBES[:1], "query"), PROBES[:1]).shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """What the user's code gives, as float32."""
        call: Callable[..., Any] = getattr(self._instance, "encode", self._instance)
        try:
            vectors = call(list(texts), role)
        except Exception as error:
            raise XlirError(f"{self.name}: encode failed: {_told(error)}") from error
        return as_floats(vectors)

    @cached_property
    def _instance(self) -> Any:
        if not inspect.isclass(self._target):
            return self._target
        try:
            return self._target()
        except Exception as error:
            raise InputError(
                f"{self.name}() cannot be made without arguments: {_told(error)}"
            ) from error


def load_python(spec: str, options: EncoderOptions) -> PythonEncoder:
    """The encoder of ``<file-or-module>:<attribute>``; runs the file, as whoever names it asks for."""
    where, colon, attribute = spec.rpartition(":")
    if not colon or not where or not attribute:
        raise InputError(
            f"py:{spec}: py:<file-or-module>:<attribute> is wanted, like py:my_model.py:encode"
        )
    is_file = where.endswith(".py") or os.sep in where or "/" in where
    module, path = _file_module(Path(where).expanduser()) if is_file else _named_module(where)
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            names = (
                [n for n in vars(target) if not n.startswith("_")]
                if hasattr(target, "__dict__")
                else []
            )
            raise UnknownNameError(f"attribute of {where}", [part], names)
        target = getattr(target, part)
    return PythonEncoder(f"{path.stem}.{attribute}", target, file_digest(path, "blake2b"), options)


def from_callable(thing: Any, options: EncoderOptions) -> PythonEncoder:
    """An encoder around a function or object of this process."""
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    stated = getattr(thing, "name", None)
    return PythonEncoder(stated if isinstance(stated, str) else name, thing, None, options)


def _file_module(path: Path) -> tuple[ModuleType, Path]:
    if not path.is_file():
        raise InputError(f"py: no file {str(path)!r}{near_misses(path)}")
    path = path.resolve()
    spec = importlib.util.spec_from_file_location(
        f"xlir_py_{file_digest(path, 'blake2b')[:12]}", path
    )
    if spec is None or spec.loader is None:
        raise InputError(f"py: {path} is no Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours, as when it is run
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles of the file look it up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(f"py: {path} cannot be run: {_told(error)}") from error
    return module, path


def _named_module(name: str) -> tuple[ModuleType, Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(
            f"py: no module {name!r} is installed; a file is named by its path, like ./{name}.py"
        )
    try:
        return importlib.import_module(name), Path(spec.origin)
    except Exception as error:
        raise InputError(f"py: module {name} cannot be imported: {_told(error)}") from error


def _told(error: Exception) -> str:
    """An error of the user's code in one line, with the line it came from."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    line = (
        f" (line {trace.tb_lineno} of {Path(trace.tb_frame.f_code.co_filename).name})"
        if trace
        else ""
    )
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{line}"
