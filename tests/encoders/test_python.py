from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from xlir_bench.encoders import as_encoder, describe, load_encoder
from xlir_bench.errors import InputError, UnknownNameError, XlirError

SOURCE = """
from dataclasses import dataclass
import neighbour_of_the_encoder

def encode(texts, role):
    return [[len(text), neighbour_of_the_encoder.VALUE, role == "query"] for text in texts]

class Encoder:
    dimension = 2
    made = 0
    def __init__(self):
        type(self).made += 1
    def encode(self, texts, role):
        import numpy
        return numpy.ones((len(texts), 2), numpy.float64)

class Needy:
    def __init__(self, path): ...
    def encode(self, texts, role): ...

class Stated(Encoder):
    fingerprint = "weights of yesterday"

class Mute: ...

def broken(texts, role):
    raise KeyError("no such row")

number = 7
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "neighbour_of_the_encoder.py").write_text("VALUE = 4")
    (tmp_path / "mine.py").write_text(SOURCE)
    yield tmp_path / "mine.py"
    sys.modules.pop("neighbour_of_the_encoder", None)


def test_a_function_of_a_file_encodes(file: Path) -> None:
    encoder = load_encoder(f"py:{file}:encode")
    vectors = encoder.encode(["ab", "abc"], "query")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2, 4, 1], [3, 4, 1]]
    assert encoder.dimension == 3
    assert encoder.name == "mine.encode"


def test_a_class_is_made_when_it_is_first_needed(file: Path) -> None:
    encoder = load_encoder(f"py:{file}:Encoder")
    kind = encoder._target
    describe(encoder)
    assert kind.made == 0
    assert encoder.encode(["a"], "passage").tolist() == [[1, 1]]
    assert encoder.dimension == 2
    assert kind.made == 1


def test_an_installed_module_is_named_by_its_dots() -> None:
    encoder = load_encoder("py:xlir_bench.encoders.builtin:RandomEncoder")
    assert encoder.name == "builtin.RandomEncoder"
    assert encoder.dimension == 256


def test_the_fingerprint_is_that_of_the_file_and_of_what_the_class_states(file: Path) -> None:
    one, stated = load_encoder(f"py:{file}:Encoder"), load_encoder(f"py:{file}:Stated")
    card = describe(one)
    assert (card.kind, card.fingerprint) == (
        "python",
        load_encoder(f"py:{file}:Encoder").fingerprint,
    )
    assert re.search(r"\bdigest\b.*`fingerprint`", card.notes[0])
    assert describe(stated).notes == ()
    assert one.fingerprint != stated.fingerprint
    file.write_text(SOURCE + "# changed\n", encoding="utf-8")
    assert load_encoder(f"py:{file}:Encoder").fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("attribute", "error", "message"),
    [
        ("encoed", UnknownNameError, "did you mean 'encode'"),
        ("number", InputError, "neither a function"),
        ("Mute", InputError, "has no method encode"),
    ],
)
def test_an_attribute_that_is_no_encoder_is_an_error_at_once(
    file: Path, attribute: str, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_encoder(f"py:{file}:{attribute}")


def test_errors_of_the_users_code_name_the_line(file: Path) -> None:
    with pytest.raises(
        XlirError, match=r"broken.*KeyError: 'no such row'.*\bline \d+ of mine\.py"
    ) as caught:
        load_encoder(f"py:{file}:broken").encode(["a"], "query")
    assert caught.value.exit_code == 4
    with pytest.raises(InputError, match="cannot be made: "):
        load_encoder(f"py:{file}:Needy").encode(["a"], "query")
    file.write_text("import nothing_of_this_name", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.py .*ModuleNotFoundError.*nothing_of_this_name"):
        load_encoder(f"py:{file}:encode")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("py:mine.py", "<file-or-module>:<attribute>"),
        ("py:./absent.py:encode", "no file"),
        ("py:absent_module:encode", "no module 'absent_module'.*./absent_module.py"),
        ("py:absent.module:encode", "no module"),
    ],
)
def test_a_spec_that_leads_nowhere_is_an_error(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(spec)


def test_what_was_probably_meant_is_near_and_may_encode(file: Path) -> None:
    for far in ("other", "x", "mute"):
        with pytest.raises(InputError) as told:
            load_encoder(f"py:{file.with_name(f'{far}.py')}:encode")
        assert str(file.parent) not in str(told.value).removeprefix(f"py: no file '{file.parent}")
    with pytest.raises(InputError, match=rf"did you mean {file}\?"):
        load_encoder(f"py:{file.with_name('mines.py')}:encode")
    (file.parent / "mine").mkdir()
    with pytest.raises(InputError, match=rf"did you mean {file}\?"):
        load_encoder(f"py:{file.with_name('mime.py')}:encode")
    with pytest.raises(UnknownNameError, match=r"'encoder'.*'encode'") as told:
        load_encoder(f"py:{file}:encoder")
    for name in ("number", "neighbour_of_the_encoder"):
        assert name not in str(told.value)


def test_a_function_in_memory_that_is_never_quite_the_same_is_one_encoder() -> None:
    random = np.random.default_rng(0)

    def encode(texts: list[str], role: str, far: float = 0.0) -> np.ndarray:
        exact = np.array([[len(text) + far, 5.0, 7.0] for text in texts])
        return exact + 1e-4 * random.uniform(-1, 1, exact.shape)

    names = {as_encoder(encode).fingerprint for _ in range(20)}
    assert len(names) == 1
    encode.__defaults__ = (1.0,)
    assert as_encoder(encode).fingerprint not in names
