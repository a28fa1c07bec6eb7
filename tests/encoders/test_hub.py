from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from xlir_bench.encoders import load_encoder
from xlir_bench.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import json, sys
from xlir_bench.encoders import EncoderOptions, describe, load_encoder
from xlir_bench.errors import XlirError
asked, encode = json.loads(sys.argv[1])
for spec, options in asked:
    try:
        encoder = load_encoder(spec, EncoderOptions(**options))
        card = describe(encoder)
        found = {"name": card.name, "slug": card.slug, "notes": card.notes, "folder": encoder.folder}
        found["light"] = "torch" not in sys.modules
        if encode:
            found["shape"] = encoder.encode(["one", "two"], "query").shape
    except XlirError as error:
        found = {"error": str(error), "code": error.exit_code}
    print(json.dumps(found))
"""
Ask = Callable[..., dict[str, Any]]
AskAll = Callable[..., list[dict[str, Any]]]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def ask_all(tmp_path: Path) -> AskAll:
    """Loads encoders in a fresh process with its own hub cache, since the hub reads its settings on import."""

    def asked(*specs: tuple[str, dict[str, Any]], endpoint: str, encode: bool = False) -> Any:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
        env |= {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps([specs, encode])],
            capture_output=True, text=True, env=env, check=True, timeout=300,
        )  # fmt: skip
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()]

    return asked


@pytest.fixture
def ask(ask_all: AskAll) -> Ask:
    """The same for one encoder."""

    def asked(spec: str, endpoint: str = NOWHERE, encode: bool = False, **options: Any) -> Any:
        return ask_all((spec, options), endpoint=endpoint, encode=encode)[0]

    return asked


def cache(home: Path, hub_id: str, folder: Path) -> Path:
    """Lay a model out as the hub's cache does: blobs by digest, links in the snapshot."""
    repository = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for file in (f for f in folder.rglob("*") if f.is_file()):
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def hub(
    folder: Path, extra: dict[str, bytes], asked: list[str], respond: Callable[..., None]
) -> Any:
    """What the hub answers for one model: its commit, its tree, its files."""
    files = {
        str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    } | extra

    def serve(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.partition("?")[0]
        api = "/api/models/someone/tiny"
        if path.startswith("/api/models/gated/"):
            respond(handler, 403, {"error": "gated"}, x_error_code="GatedRepo")
        elif path == f"{api}/revision/nonsense":
            respond(handler, 404, {"error": "no"}, x_error_code="RevisionNotFound")
        elif path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            respond(handler, 200, {"id": "someone/tiny", "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"{api}/tree/"):
            tree = [
                {"type": "file", "path": n, "size": len(b), "oid": "0" * 40}
                for n, b in files.items()
            ]
            respond(handler, 200, tree)
        elif path.startswith(f"/someone/tiny/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/someone/tiny/resolve/{COMMIT}/")
            asked.append(name)
            etag = hashlib.sha256(files[name]).hexdigest()
            respond(handler, 200, files[name], etag=f'"{etag}"', x_repo_commit=COMMIT)
        else:
            respond(handler, 404, {"error": "not found"}, x_error_code="RepoNotFound")

    return serve


def test_a_cached_model_is_found_and_runs_without_network(
    ask: Ask, tiny_transformer: Path, tmp_path: Path
) -> None:
    snapshot = cache(tmp_path / "hf", "someone/tiny", tiny_transformer)
    for options in ({"offline": True}, {}):
        found = ask("someone/tiny", **options)
        assert (found["name"], found["slug"]) == ("someone/tiny", "someone__tiny")
        assert found["folder"] == str(snapshot)
        assert found["light"]
        assert f"hub: commit {COMMIT}" in found["notes"]


def test_a_cached_model_encodes_offline(ask: Ask, tiny_transformer: Path, tmp_path: Path) -> None:
    cache(tmp_path / "hf", "sentence-transformers/tiny", tiny_transformer)
    found = ask("tiny", offline=True, encode=True, max_length=16)
    assert found["shape"] == [2, 32]
    assert found["name"] == "sentence-transformers/tiny"
    assert found["slug"].startswith("sentence-transformers__tiny~")


def test_a_model_is_downloaded_without_pickles_and_other_formats(
    ask: Ask, tiny_transformer: Path, serve: Any, respond_with: Any
) -> None:
    asked: list[str] = []
    names = (
        "pytorch_model.bin",
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
        "tf_model.h5",
        "x.msgpack",
    )
    extra = dict.fromkeys(names, b"not wanted")
    url = serve(hub(tiny_transformer, extra, asked, respond_with))
    found = ask("someone/tiny", url, revision="v1.0")
    assert found["slug"] == "someone__tiny--v1.0"
    assert "model.safetensors" in asked
    assert not set(asked) & set(names)


def test_what_the_hub_does_not_give_is_out_of_reach(
    ask_all: AskAll, tiny_transformer: Path, serve: Any, respond_with: Any
) -> None:
    url = serve(hub(tiny_transformer, {}, [], respond_with))
    wanted = {
        ("someone/else", None): r"there is no model 'someone/else'",
        ("gated/model", None): "is gated: accept its terms",
        ("someone/tiny", "nonsense"): "has no --revision nonsense",
    }
    asked = [(spec, {"revision": revision}) for spec, revision in wanted]
    for found, message in zip(ask_all(*asked, endpoint=url), wanted.values(), strict=True):
        assert message in found["error"]
        assert found["code"] == 3
        assert found["error"].count("\n") == 0


def test_a_hub_id_without_network_fails_fast_and_says_what_to_do(ask: Ask) -> None:
    start = time.monotonic()
    found = ask("intfloat/multilingual-e5-small")
    assert time.monotonic() - start < 10
    assert found["code"] == 3
    assert "intfloat/multilingual-e5-small" in found["error"]
    assert "http://127.0.0.1:9" in found["error"]
    assert "[Errno 111] Connection refused" in found["error"]
    assert "give a folder" in found["error"]


def test_a_hub_id_that_is_not_cached_says_so_when_offline(ask: Ask) -> None:
    found = ask("someone/model", offline=True)
    assert found["code"] == 3
    assert re.search(r"\bsomeone/model\b.*\boffline\b", found["error"])


def test_a_path_that_is_not_there_names_near_misses(tmp_path: Path, tiny_transformer: Path) -> None:
    (tmp_path / "checkpoint-1000").mkdir()
    with pytest.raises(InputError, match=r"checkpoint-100'.*checkpoint-1000\b"):
        load_encoder(str(tmp_path / "checkpoint-100"))
    (tmp_path / "checkpoint-101").write_bytes(b"")
    with pytest.raises(InputError) as told:
        load_encoder(str(tmp_path / "checkpoint-100"))
    assert "checkpoint-101" not in str(told.value)
    with pytest.raises(InputError, match=r"final'.*\bzzz\b"):
        load_encoder(str(tmp_path / "zzz" / "final"))
    for spec in ("./nowhere", "~/nowhere-at-all", "a/b/c"):
        with pytest.raises(InputError, match="no model folder"):
            load_encoder(spec)


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        load_encoder(str(tmp_path / "model.safetensors"))


def test_a_snapshot_named_by_its_path_is_called_by_its_hub_id(
    tmp_path: Path, tiny_transformer: Path
) -> None:
    snapshot = cache(tmp_path, "intfloat/multilingual-e5-small", tiny_transformer)
    encoder = load_encoder(str(snapshot))
    assert encoder.name == "intfloat/multilingual-e5-small"
