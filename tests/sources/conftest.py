from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Said
from huggingface_hub import constants

from xlir_bench.cli import exit_code


@pytest.fixture
def xlir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Runs the command as one to which the hub is at an address, without a token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "XLIR_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    # They write to stderr as it was when the library was imported, which may have been another test's.
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "handlers", [])
    resolve = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)

    def command(url: str, *args: str) -> Said:
        # What the hub's library makes of HF_ENDPOINT when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + resolve)
        capsys.readouterr()
        code = exit_code(args)
        return Said(code, *capsys.readouterr())

    return command
