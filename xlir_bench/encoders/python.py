"""Encoders of the user's own: ``py:<file-or-module>:<attribute>``, or any callable in memory."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from xlir_bench.encoders.check import as_floats, checked
from xlir_bench.encoders.digest import PROBES, fingerprint, probed_fingerprint, short, slug
from xlir_bench.encoders.hub import near_misses
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, unused_notes
from xlir_bench.errors import InputError, UnknownNameError, XlirError
from xlir_bench.files import file_digest
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.places import expanded
from xlir_bench.records import ROLES, Floats, Role


class PythonTarget(NamedTuple):
    """What ``<file-or-module>:<attribute>`` names."""

    name: str
    target: Any
    digest: str
    """The digest of the file that defines it."""


class PythonEncoder:
    """Calls a function ``encode(texts, role)`` or ``encode(texts)``, or the method `encode` of an object or class; an
    object of the class is made when it is needed."""

    def __init__(
        self, name: str, target: Any, source: str | None, options: EncoderOptions = DEFAULT_OPTIONS
    ) -> None:
        has_method = callable(getattr(target, "encode", None))
        if inspect.isclass(target) and not has_method:
            raise InputError(f"class {name} has no method encode(texts, role)")
        if not callable(target) and not has_method:
            raise InputError(
                f"{name} is neither a function encode(texts, role) nor a class with such a method, but {type(target).__name__}"
            )
        self.name = name
        self._target = target
        self._source = source
        """The digest of the file that the code is in."""
        self._options = options

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the code's file, and of its attribute `fingerprint` if that is a string.

        A callable in memory may use values that no file contains: the vectors of a few texts take the place of a file.
        """
        parts: dict[str, Any] = {"kind": "python", "name": self.name, "source": self._source}
        if self._stated is not None:
            parts["stated"] = self._stated
        elif self._source is None:
            vectors = [checked(self.encode(PROBES, role), PROBES) for role in ROLES]
            return probed_fingerprint(parts, np.concatenate(vectors, axis=1))
        return fingerprint(parts)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it."""
        identity = "the digest of its file" if self._source else "the vectors of a few texts"
        note = f"identified by {identity}; only an attribute `fingerprint` tells what else it loads"
        notes = [note] if self._stated is None else []
        return EncoderCard(
            name=self.name,
            kind="python",
            slug=slug(f"py-{self.name}-{short(self.fingerprint)}"),
            fingerprint=self.fingerprint,
            notes=(*notes, *unused_notes(self._options, "python")),
        )

    @cached_property
    def dimension(self) -> int:
        """The user's attribute `dimension`, else the length of one vector."""
        stated = getattr(self._instance, "dimension", None)
        if isinstance(stated, int):
            return stated
        return int(checked(self.encode(PROBES[:1], "query"), PROBES[:1]).shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """What the user's code gives, as float32."""
        call: Callable[..., Any] = getattr(self._instance, "encode", self._instance)
        with own_code(self.name, "encode"):
            vectors = call(list(texts), role) if takes_role(call) else call(list(texts))
        return as_floats(vectors)

    @cached_property
    def _stated(self) -> str | None:
        """The fingerprint that the user's code states."""
        stated = getattr(self._target, "fingerprint", None)
        return stated if isinstance(stated, str) else None

    @cached_property
    def _instance(self) -> Any:
        return instance(self.name, self._target)


def instance(name: str, target: Any) -> Any:
    """The target itself; if it is a class, an object of the class."""
    if not inspect.isclass(target):
        return target
    try:
        return target()
    except Exception as error:
        raise InputError(f"{name}() cannot be made: {in_one_line(error)}") from error


def takes_role(call: Callable[..., Any]) -> bool:
    """Whether it has a second argument that can be a role: one whose default is not a number or a truth value."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return True
    if any(each.kind == inspect.Parameter.VAR_POSITIONAL for each in parameters[:2]):
        return True
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    second = parameters[1] if len(parameters) > 1 and parameters[1].kind in positional else None
    return second is not None and not isinstance(second.default, int | float)


def python_target(spec: str) -> PythonTarget:
    """What a spec names. The file is run: by naming it, the user asked for that."""
    where, _, attribute = spec.rpartition(":")
    if not where or not attribute:
        raise InputError(f"py:{spec}: give py:<file-or-module>:<attribute>, as py:model.py:encode")
    is_file = where.endswith(".py") or os.sep in where or "/" in where
    module, path = _file_module(expanded(where)) if is_file else _named_module(where)
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise UnknownNameError(f"attribute of {where}", [part], _encoders_in(target))
        target = getattr(target, part)
    return PythonTarget(f"{path.stem}.{attribute}", target, file_digest(path, "blake2b"))


def _encoders_in(target: Any) -> list[str]:
    """The public names of callables and of objects with a method `encode`."""
    named = {name: x for name, x in getattr(target, "__dict__", {}).items() if name[0] != "_"}
    return [
        name for name, x in named.items() if callable(x) or callable(getattr(x, "encode", None))
    ]


def _file_module(path: Path) -> tuple[ModuleType, Path]:
    if not path.is_file():
        raise InputError(f"py: no file {str(path)!r}{near_misses(path, '.py')}")
    path = path.resolve()
    name = f"xlir_py_{file_digest(path, 'blake2b')[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"py: {path} is not a Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # it may import its neighbours, as when it is run
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles of the file look it up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(f"py: {path} cannot be run: {in_one_line(error)}") from error
    return module, path


def _named_module(name: str) -> tuple[ModuleType, Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(f"py: no module {name!r} is installed; a file is written ./{name}.py")
    try:
        return importlib.import_module(name), Path(spec.origin)
    except Exception as error:
        raise InputError(f"py: module {name} cannot be imported: {in_one_line(error)}") from error


@contextmanager
def own_code(name: str, what: str) -> Iterator[None]:
    """Make an error of the user's code one of ours, which tells what was asked of it and the line it came from."""
    try:
        yield
    except XlirError:
        raise
    except Exception as error:
        raise XlirError(f"{name}: {what} failed: {in_one_line(error)}") from error


def in_one_line(error: Exception) -> str:
    """An error in the user's code, and the line that raised it."""
    place = f" ({line_of(error)})" if error.__traceback__ else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}"


def line_of(error: Exception) -> str:
    """The line that raised an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"line {frame.lineno} of {Path(frame.filename).name}"
