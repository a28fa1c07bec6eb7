"""Models of several kinds, and servers on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from models import Copy, save_static_embedding, save_tiny_bert, save_tiny_transformer

Respond = Callable[[BaseHTTPRequestHandler, bytes], None]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test: vectors of probes are kept there."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XLIR_CACHE", str(folder))
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A model to spoil."""

    def copied(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy{len(list(tmp_path.iterdir()))}"))

    return copied


@pytest.fixture(scope="session")
def static_embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a transformer."""
    return save_static_embedding(tmp_path_factory.mktemp("models") / "static")


@pytest.fixture(scope="session")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that registers prompts, the one for passages under the name "passage"."""
    folder = tmp_path_factory.mktemp("models") / "prompted"
    return save_tiny_transformer(folder, prompts={"query": "query: ", "passage": "passage: "})


@pytest.fixture(scope="session")
def bare_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers checkpoint that sentence-transformers never saw."""
    return save_tiny_bert(tmp_path_factory.mktemp("models") / "bare")


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], str]]:
    """Starts a real server on loopback that answers every request with a function; gives its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(respond: Respond) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                respond(self, self.rfile.read(int(self.headers.get("content-length", 0))))

            def do_GET(self) -> None:
                self.do_POST()

            def do_HEAD(self) -> None:
                self.do_POST()

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    """One whole HTTP answer; anything but bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


@pytest.fixture
def respond_with() -> Callable[..., None]:
    """`answer`, for tests that write their own server."""
    return answer
