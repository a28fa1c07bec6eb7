"""A file server on loopback that can be told to misbehave, and the small tasks it serves."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FileServer(ThreadingHTTPServer):
    """Serves bytes by path; what it was asked is in `asked`."""

    daemon_threads = True

    def __init__(self, content: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = dict(content)
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.tag: str | None = None
        self.length = True
        self.cuts: list[int] = []
        """For the next answers: after how many bytes the connection is cut."""
        self.statuses: list[int] = []
        """For the next answers: an error instead of the file."""
        self.headers: dict[str, dict[str, str]] = {}
        """By path: more headers, which win over the server's own."""
        self.endless: set[str] = set()
        """Paths whose answers never end."""
        self.tokens: list[tuple[str, str | None]] = []
        """What each request logged in with."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has seen enough hangs up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        server.tokens.append((self.path, self.headers.get("Authorization")))
        if server.statuses:
            return self._answer(server.statuses.pop(0), b"")
        if "Location" in (more := server.headers.get(self.path, {})):
            self.extra = more
            return self._answer(302, b"")
        if self.path not in server.content:
            return self._answer(404, b"")
        body = server.content[self.path]
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if self.headers.get("If-Range", server.tag) != server.tag:
            start = 0
        if not start:
            return self._answer(200, body)
        if start >= len(body):
            return self._answer(416, b"")
        self.extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return self._answer(206, body[start:])

    def _answer(self, status: int, body: bytes) -> None:
        headers = getattr(self, "extra", {}) | self.server.headers.get(self.path, {})
        self.extra = {}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        if "Content-Length" in headers:
            pass
        elif self.server.length and self.path not in self.server.endless:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if status in (200, 206) and self.server.cuts:
            body = body[: self.server.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        while self.path in self.server.endless:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(content: Mapping[str, bytes]) -> Iterator[FileServer]:
    """A server of this content, for as long as the block lasts."""
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def paragraph(
    sentences: list[str], questions: list[tuple[str, str, int]], glue: str = " "
) -> dict[str, Any]:
    """A LAReQA paragraph; each question is (id, text, number of the sentence that answers it)."""
    breaks, end = [], 0
    for sentence in sentences:
        breaks.append([end, end + len(sentence)])
        end += len(sentence) + len(glue)
    return {
        "context": glue.join(sentences),
        "sentences": sentences,
        "sentence_breaks": breaks,
        "qas": [
            {
                "id": name,
                "question": text,
                "answers": [{"answer_start": breaks[row][0], "text": sentences[row]}],
            }
            for name, text, row in questions
        ],
    }


def article(title: str, *paragraphs: dict[str, Any]) -> dict[str, Any]:
    """A LAReQA article."""
    return {"title": title, "paragraphs": list(paragraphs)}


def lareqa(*articles: dict[str, Any]) -> dict[str, Any]:
    """A LAReQA file."""
    return {"data": list(articles)}


SMALL = {
    "en": lareqa(
        article("Bees", paragraph(["Bees dance.", "They make honey."], [("q1", "Who dances?", 0)])),
        article("Salt", paragraph(["Salt is white."], [("q2", "What is white?", 0)])),
    ),
    "de": lareqa(
        article("Bienen", paragraph(["Bienen tanzen."], [("q1", "Wer tanzt?", 0)])),
        article("Salz", paragraph(["Salz ist alt.", "Es ist weiß."], [("q2", "Was ist weiß?", 1)])),
    ),
}
"""Two languages, two articles, two parallel questions."""


def packed(content: Any) -> bytes:
    """JSON as it lies on disk; bytes stay as they are."""
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def write_data(root: Path, contents: Mapping[str, Any]) -> Path:
    """A data root that holds the task `small`."""
    folder = root / "lareqa" / "small"
    folder.mkdir(parents=True, exist_ok=True)
    for lang, content in contents.items():
        (folder / f"{lang}.json").write_bytes(packed(content))
    return root


def write_task(
    folder: Path,
    contents: Mapping[str, Any],
    url: str | None = None,
    pinned: bool = True,
    sized: bool = True,
    paths: Mapping[str, str] | None = None,
) -> Path:
    """The TOML file of a task `small` over these files."""
    source = f'url = "{url}/{{lang}}.json"' if url else ""
    lines = [
        'name = "small"',
        "version = 1",
        'title = "Small"',
        'format = "lareqa"',
        'description = "Two parallel questions."',
        'domain = "test"',
        f"languages = {json.dumps(list(contents))}",
        'kinds = ["monolingual", "cross-lingual", "multilingual"]',
        'measures = ["map"]',
        'candidate = "sentence"',
        'candidates = ["sentence", "sentence+context"]',
        'licence = "CC0"',
        'homepage = "https://example.org"',
        'citation = "Nobody 2024"',
        "[source]",
        source,
    ]
    for lang, content in contents.items():
        body = packed(content)
        path = (paths or {}).get(lang, f"lareqa/small/{lang}.json")
        lines += [f"[files.{lang}]", f"path = {json.dumps(path)}"]
        lines += [f'sha256 = "{hashlib.sha256(body).hexdigest()}"'] if pinned else []
        lines += [f"bytes = {len(body)}"] if sized else []
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "small.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
