"""What lets others in is in nothing that is written or shown."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest

from xlir_bench.cli import exit_code
from xlir_bench.escaping import redacted, redacted_command

KEY = "sk-1234567890abcdef+/ü"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://alice:pw@host:8000/v1#m", "http://***@host:8000/v1#m"),
        ("http:alice:pw@host/v1", "http:***@host/v1"),
        ("http:http://alice:p@w@host/v1", "http:http://***@host/v1"),
        ("https:token@host", "https:***@host"),
        ("http://host/v1?api-key=k&b=2#m", "http://host/v1?api-key=***&b=***#m"),
        ("http://host?k", "http://host?***"),
        (
            "'http://u:p@host?a=b' and https://v:q@two",
            "'http://***@host?a=***' and https://***@two",
        ),
        ("http://host:8000/v1#@cf/baai/bge-m3", "http://host:8000/v1#@cf/baai/bge-m3"),
        ("is a=b what http://host/v1 wants?", "is a=b what http://host/v1 wants?"),
        ("rows.jsonl@2 alice@example.org", "rows.jsonl@2 alice@example.org"),
    ],
)
def test_users_passwords_and_values_of_urls_are_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("before", ["", "B", "Be", "Bearer ", "alice:"])
def test_a_secret_is_hidden_however_a_server_echoes_it(before: str) -> None:
    whole = (before + KEY + "tail").encode()
    echoes = [
        before + KEY,
        json.dumps({"header": before + KEY}),
        quote(before + KEY, safe=""),
        base64.b64encode(whole).decode(),
        base64.urlsafe_b64encode(whole).decode(),
        base64.b64encode((before + KEY).encode()).decode(),
    ]
    for echo in echoes:
        shown = redacted(f"401: {echo} is no key", [KEY])
        assert "***" in shown
        assert "1234567" not in shown
        # At most the two characters of base64 that the neighbours share are left of it.
        middle = base64.b64encode(KEY[4:-4].encode()).decode()
        assert middle[4:-4] not in shown


def test_a_command_names_no_folder_of_the_user() -> None:
    typed = [
        *(
            "run",
            "--model",
            "/home/alice/out/checkpoint-7",
            "--model=http://u:p@h/v1?key=1#/srv/m/e5",
        ),
        *(
            "--data",
            "/home/alice/my data/",
            "--task",
            "beir:/home/alice/faq",
            "--output",
            "results/x",
        ),
        *("--model", "py:/home/alice/mine.py:encode", "C:\\Users\\alice\\model", "/"),
        *("--http-body", 'query={"key": "k"}', '--http-body=passage={"a/b": "=/c"}'),
        *("--train", "/data/rows.jsonl@2:monolingual"),
    ]
    assert redacted_command(typed) == [
        *("run", "--model", "checkpoint-7", "--model=http://***@h/v1?key=***#e5"),
        *("--data", "my data/", "--task", "beir:faq", "--output", "results/x"),
        *("--model", "py:mine.py:encode", "model", "/"),
        *("--http-body", "query=***", "--http-body=passage=***"),
        *("--train", "rows.jsonl@2:monolingual"),
    ]


def test_result_json_holds_neither_paths_nor_errors_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "cache"))
    quick = ["--langs", "de", "--limit", "3", "--measures", "map", "--quiet"]
    out = tmp_path / "secret place" / "results"
    assert exit_code(["run", "--model", "builtin:ngram", *quick, "--output", str(out)]) == 0
    (file,) = out.rglob("result.json")
    command = shlex.split(json.loads(file.read_text("utf-8"))["command"])
    assert command[-1] == "results"
    assert "secret place" not in file.read_text("utf-8")
    capsys.readouterr()
    assert exit_code(["run", "--model", "http:alice:hush@127.0.0.1:9/v1?key=quiet", *quick]) != 0
    said = capsys.readouterr().err
    assert "127.0.0.1" in said or "host" in said
    assert "hush" not in said
    assert "quiet" not in said.replace("--quiet", "")
