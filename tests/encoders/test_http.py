from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import text_collection

from xlir_bench.encoders import EncoderOptions, describe, http, load_encoder
from xlir_bench.encoders.http import HttpEncoder
from xlir_bench.errors import BadVectorsError, InputError, OutOfReachError
from xlir_bench.records import Silent
from xlir_bench.retrieval import EmbedRequest, embed

SECRET = "sk-very-secret"


class Server:
    """An embeddings server that first answers what is queued in `failures`, then rightly."""

    def __init__(self, start: Callable[..., str], respond: Callable[..., None]) -> None:
        self.respond = respond
        self.failures: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.scale = 1.0
        self.noise = 0.0
        self.prefix = 0
        """Tokens that it puts before each text, as far as it counts them."""
        self.counts = False
        self.random = np.random.default_rng(0)
        self.answer: Callable[[list[str]], Any] = self.rightly
        self.url = start(self.serve) + "/v1"

    def rightly(self, texts: list[str]) -> Any:
        rows = [{"index": i, "embedding": self.vector(text)} for i, text in enumerate(texts)]
        tokens = sum(len(text.split()) + 2 + self.prefix for text in texts)
        usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if self.counts else {}
        return {"data": rows[::-1], "model": "m", **usage}

    def vector(self, text: str) -> list[float]:
        exact = np.array([self.scale * len(text), float(ord((text or "\0")[0])), 1.0])
        size = np.linalg.norm(exact) / np.sqrt(3)
        return (exact + self.noise * size * self.random.uniform(-1, 1, 3)).tolist()

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.requests.append(json.loads(body))
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.paths.append(handler.path)
        if self.failures:
            self.failures.pop(0)(handler)
        else:
            self.respond(handler, 200, self.answer(self.requests[-1]["input"]))

    def fail(self, status: int, body: Any = "sorry", **headers: str) -> None:
        self.failures.append(lambda handler: self.respond(handler, status, body, **headers))


@pytest.fixture
def server(serve: Any, respond_with: Any) -> Server:
    return Server(serve, respond_with)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited."""
    waits: list[float] = []
    for name, value in {
        "TRIES": 4,
        "TIMEOUT": 5.0,
        "sleep": waits.append,
        "random": lambda: 1.0,
    }.items():
        monkeypatch.setattr(http, name, value)
    return waits


@pytest.fixture
def encoder(server: Server, waits: list[float]) -> HttpEncoder:
    return HttpEncoder(server.url, "m")


@pytest.mark.parametrize("prefix", ["http:", ""])
@pytest.mark.parametrize("path", ["", "/", "/embeddings"])
def test_texts_are_posted_as_openai_does_and_rows_put_in_order(
    server: Server, prefix: str, path: str
) -> None:
    encoder = load_encoder(f"{prefix}{server.url}{path}#text-embed")
    vectors = encoder.encode(["abc", "é"], "query")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[3, 97, 1], [1, 233, 1]]
    assert server.paths == ["/v1/embeddings"]
    assert server.requests == [
        {"model": "text-embed", "input": ["abc", "é"], "encoding_format": "float"}
    ]


def test_at_most_64_texts_go_in_a_request(server: Server, encoder: HttpEncoder) -> None:
    texts = [str(i) * (i + 1) for i in range(130)]
    vectors = encoder.encode(texts, "query")
    assert [len(r["input"]) for r in server.requests] == [64, 64, 2]
    assert vectors[:, 0].tolist() == [len(text) for text in texts]


def test_prompts_stand_before_the_texts(server: Server) -> None:
    encoder = load_encoder(f"{server.url}#m", EncoderOptions(query_prompt="q: "))
    encoder.encode(["a"], "query")
    encoder.encode(["a"], "passage")
    assert [r["input"] for r in server.requests] == [["q: a"], ["a"]]
    known = load_encoder(f"{server.url}#intfloat/multilingual-e5-small")
    known.encode(["a"], "passage")
    assert server.requests[-1]["input"] == ["passage: a"]


def test_truncate_dim_keeps_the_first_numbers(server: Server) -> None:
    encoder = load_encoder(f"{server.url}#m", EncoderOptions(truncate_dim=2))
    assert encoder.encode(["abc"], "query").tolist() == [[3, 97]]
    assert encoder.dimension == 2
    with pytest.raises(InputError, match="only 3"):
        load_encoder(f"{server.url}#m", EncoderOptions(truncate_dim=9)).encode(["a"], "query")


def test_too_many_requests_waits_as_long_as_the_server_asks(
    server: Server, encoder: HttpEncoder, waits: list[float]
) -> None:
    server.fail(429, retry_after="7")
    server.fail(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    server.fail(503, retry_after="nonsense")
    assert encoder.encode(["abc"], "query").shape == (1, 3)
    assert waits == [7.0, 1.0, 2.0]


def test_no_wait_is_longer_than_the_longest(
    server: Server, encoder: HttpEncoder, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "random", lambda: 0.0)
    monkeypatch.setattr(http, "LONGEST_PAUSE", 3.0)
    server.fail(429, retry_after="86400")
    encoder.encode(["abc"], "query")
    assert waits == [3.0]


def test_server_errors_are_tried_again_with_longer_waits_and_then_given_up(
    server: Server, encoder: HttpEncoder, waits: list[float]
) -> None:
    for _ in range(4):
        server.fail(500, "out of memory")
    with pytest.raises(OutOfReachError, match=r"\b4 tries.*HTTP 500.*out of memory") as caught:
        encoder.encode(["abc"], "query")
    assert caught.value.exit_code == 3
    assert waits == [0.5, 1.0, 2.0]
    assert len(server.requests) == 4


def test_a_time_out_is_tried_again(
    server: Server, encoder: HttpEncoder, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.2)
    server.failures.append(lambda handler: time.sleep(0.6))
    assert encoder.encode(["abc"], "query").shape == (1, 3)
    assert waits == [0.5]


def test_a_connection_cut_in_the_middle_is_tried_again(
    server: Server, encoder: HttpEncoder, waits: list[float]
) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"data": [')
        handler.close_connection = True

    server.failures.append(cut)
    assert encoder.encode(["abc"], "query").shape == (1, 3)
    assert waits == [0.5]


def test_a_refused_connection_is_out_of_reach_after_few_tries(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(OutOfReachError, match=r"\b3 tries.*ConnectError.*server") as caught:
        HttpEncoder(url, "m").encode(["abc"], "query")
    assert caught.value.exit_code == 3
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "refuses the request for model 'm'.*input too long"),
        (401, r"refuses the key.*\$OPENAI_API_KEY is not set"),
        (404, "knows no such path or model 'm'"),
        (302, "HTTP 302"),
    ],
)
def test_other_refusals_are_errors_at_once(
    server: Server,
    encoder: HttpEncoder,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    message: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.fail(status, {"error": "input too long"})
    with pytest.raises(InputError, match=message):
        encoder.encode(["abc"], "query")
    assert len(server.requests) == 1
    assert waits == []


def test_a_wrong_count_of_vectors_names_both_numbers_and_the_first_text(
    server: Server, encoder: HttpEncoder
) -> None:
    server.answer = lambda texts: {"data": server.rightly(texts)["data"][1:]}
    with pytest.raises(BadVectorsError, match=r"\b2 vectors\b.*\b1\b.*'abc'"):
        encoder.encode(["abc", "d"], "query")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            lambda texts: {"data": [{"embedding": [1.0, float("nan")]}]},
            BadVectorsError,
            "NaN for the text 'abc'",
        ),
        (lambda texts: {"data": [{"embedding": ["x"]}]}, BadVectorsError, "not numbers"),
        (lambda texts: {"data": [{"index": 3, "embedding": [1.0]}]}, BadVectorsError, "numbered"),
        (lambda texts: {"vectors": []}, InputError, "not with embeddings"),
        (lambda texts: b"<html>", InputError, "not with JSON"),
    ],
)
def test_an_answer_that_is_no_vectors_is_a_clear_error(
    server: Server, encoder: HttpEncoder, answer: Any, error: type[Exception], message: str
) -> None:
    server.answer = answer
    with pytest.raises(error, match=message):
        encoder.encode(["abc"], "query")


def test_the_key_goes_to_the_server_and_nowhere_else(
    server: Server, encoder: HttpEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    told = [repr(encoder), repr(describe(encoder)), repr(vars(encoder))]
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    server.fail(401, f"Incorrect API key provided: {SECRET}")
    with pytest.raises(InputError, match=r"\*\*\*.*is set") as caught:
        encoder.encode(["abc"], "query")
    assert not any(
        SECRET in text for text in [*told, str(caught.value), repr(caught.value.__cause__)]
    )


def test_the_key_is_read_from_the_variable_that_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    load_encoder(f"{server.url}#m", EncoderOptions(api_key_env="MY_KEY")).encode(["a"], "query")
    load_encoder(f"{server.url}#m").encode(["a"], "query")
    assert [h.get("authorization") for h in server.headers] == [f"Bearer {SECRET}", None]


def test_a_login_that_a_server_sends_back_in_base64_is_not_shown(server: Server) -> None:
    encoder = HttpEncoder(server.url.replace("://", f"://user:{SECRET}@"), "m")
    echoed = base64.b64encode(f"user:{SECRET}".encode()).decode()
    server.fail(401, f"denied: Basic {echoed}")
    with pytest.raises(InputError, match="denied: Basic") as caught:
        encoder.encode(["abc"], "query")
    assert not any(echoed[n : n + 8] in str(caught.value) for n in range(len(echoed) - 8))


def test_a_login_and_a_query_in_the_url_are_used_and_never_shown(server: Server) -> None:
    url = server.url.replace("://", f"://user:{SECRET}@") + "?code=hidden"
    encoder = HttpEncoder(url, "m")
    card = describe(encoder)
    assert server.headers[0]["authorization"].startswith("Basic ")
    assert server.paths[0] == "/v1/embeddings?code=hidden"
    server.fail(400, "what is code=hidden?")
    with pytest.raises(InputError) as caught:
        encoder.encode(["a"], "query")
    for text in (repr(card), repr(encoder), str(caught.value)):
        assert SECRET not in text
        assert "hidden" not in text
    assert card.fingerprint == describe(HttpEncoder(server.url, "m")).fingerprint


def test_the_fingerprint_follows_the_vectors_of_the_server(
    server: Server, encoder: HttpEncoder
) -> None:
    card = describe(encoder)
    assert card.kind == "http"
    assert card.slug.startswith("http-127.0.0.1_3a")
    server.scale = 1.0 + 1e-7
    assert load_encoder(f"{server.url}#m").fingerprint == card.fingerprint
    server.scale = 1.1
    assert load_encoder(f"{server.url}#m").fingerprint != card.fingerprint
    server.scale = 1.0
    assert load_encoder(f"{server.url}#other").fingerprint != card.fingerprint


@pytest.mark.parametrize("noise", [1e-5, 1e-3])
def test_a_server_whose_vectors_are_never_quite_the_same_is_one_encoder(
    server: Server, noise: float, tmp_path: Path
) -> None:
    """Half precision, another batch: 100 sessions had 100 names, and nothing was ever found in the cache."""
    server.noise = noise
    cards = [describe(load_encoder(f"{server.url}#m")) for _ in range(6)]
    assert len({card.fingerprint for card in cards}) == len({card.slug for card in cards}) == 1
    texts = text_collection({"en": ["a"]}, {"en": ["b", "c"]})
    runs = [
        embed(texts, load_encoder(f"{server.url}#m"), EmbedRequest(tmp_path), Silent())
        for _ in "ab"
    ]
    assert [found.cached for found in runs] == [0, 3]
    server.noise, server.scale = 0.0, 1.05
    assert describe(load_encoder(f"{server.url}#m")).fingerprint != cards[0].fingerprint


def test_where_nothing_can_be_kept_a_server_is_known_by_the_vectors_of_today(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XLIR_CACHE", str(tmp_path / "file" / "cache"))
    names = {describe(load_encoder(f"{server.url}#m")).fingerprint for _ in "ab"}
    assert len(names) == 1


def with_bodies(server: Server, *bodies: str, **options: Any) -> HttpEncoder:
    return load_encoder(f"{server.url}#m", EncoderOptions(http_body=bodies, **options))  # type: ignore[return-value]


def test_requests_say_more_by_role(server: Server) -> None:
    encoder = with_bodies(server, 'query={"input_type": "query"}', 'passage={"n": [1]}')
    encoder.encode(["a"], "query")
    encoder.encode(["a"], "passage")
    ours = {"model": "m", "input": ["a"], "encoding_format": "float"}
    assert server.requests == [ours | {"input_type": "query"}, ours | {"n": [1]}]
    card = describe(encoder)
    assert any("input_type" in note for note in card.notes)
    plain = describe(load_encoder(f"{server.url}#m"))
    assert card.fingerprint != plain.fingerprint
    assert card.slug != plain.slug


def test_what_a_request_says_besides_is_not_shown(server: Server) -> None:
    encoder = with_bodies(server, f'query={{"token": "{SECRET}"}}')
    server.fail(400, f"token {SECRET} is over its limit")
    with pytest.raises(InputError) as caught:
        encoder.encode(["a"], "query")
    assert SECRET not in f"{caught.value} {describe(encoder)!r} {encoder!r}"


@pytest.mark.parametrize(
    "bodies",
    [
        ["both={}"],
        ["query"],
        ["query={}", "query={}"],
        [f'query={{"a": {SECRET}}}'],
        ['query=["a"]'],
        ['query={"input": "a"}'],
        ['query={"a": NaN}'],
        ['query={"a": "\\ud800"}'],
        ["query=" + "[" * 100_000],
    ],
)
def test_a_body_that_cannot_be_sent_is_an_error_that_shows_no_value(
    server: Server, bodies: list[str]
) -> None:
    with pytest.raises(InputError, match="--http-body") as caught:
        with_bodies(server, *bodies)
    assert SECRET not in str(caught.value)
    assert not server.requests


@pytest.mark.parametrize(
    ("counts", "prefix", "prompt", "told"),
    [
        (True, 2, "query: ", "TWO PREFIXES: the server puts some 2 tokens before each query"),
        (True, 2, "", "the server puts some 2 tokens before each query itself"),
        (True, 0, "query: ", None),
        (False, 2, "query: ", None),
    ],
)
def test_a_server_that_puts_a_prefix_before_texts_itself_is_told_of_where_it_counts_it(
    server: Server, counts: bool, prefix: int, prompt: str, told: str | None
) -> None:
    server.counts, server.prefix = counts, prefix
    notes = describe(with_bodies(server, query_prompt=prompt)).notes
    found = [note for note in notes if "before each query" in note]
    assert [note[: len(told or "")] for note in found] == ([told] if told else [])


@pytest.mark.parametrize(
    "spec", ["http:", "http://host/v1", "http:host#m", "https:///v1#m", "http://u:p@h/v1"]
)
def test_a_spec_without_url_or_model_is_an_error_that_shows_no_password(spec: str) -> None:
    with pytest.raises(InputError, match="http:<url>#<model>") as caught:
        load_encoder(spec)
    assert "u:p" not in str(caught.value)
