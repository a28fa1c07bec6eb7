"""Encoders behind a server that speaks the OpenAI embeddings protocol: ``http:<url>#<model>``."""

from __future__ import annotations

import json
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from xlir_bench.encoders.check import checked, shortened
from xlir_bench.encoders.digest import short
from xlir_bench.encoders.options import DEFAULT_OPTIONS, given, unused_notes
from xlir_bench.encoders.probes import PROBES, probed_fingerprint
from xlir_bench.encoders.prompts import chosen
from xlir_bench.encoders.protocol import EncoderCard
from xlir_bench.encoders.slugs import slug
from xlir_bench.errors import BadVectorsError, InputError, OutOfReachError
from xlir_bench.escaping import redacted, visible
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.options.stating import check_bounds
from xlir_bench.records import ROLES, Floats, Role
from xlir_bench.untrusted import parse_json

if TYPE_CHECKING:
    import httpx

BATCH = 64
"""The most inputs a request."""
USED_OPTIONS = ("query_prompt", "passage_prompt", "truncate_dim", "http_body")
OURS = ("model", "input", "encoding_format")
"""Fields of a request that `--http-body` leaves alone."""
MAY_BE_SECRET = 12
"""Values of `--http-body` of so many characters are not shown."""
SPECIAL_TOKENS = 2
"""As many may a tokenizer put around a text; what a server counts beyond them is a prefix."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long is waited in between."""

    tries: int = 6
    first_tries: int = 3
    """Before the server has answered anything at all: a wrong address should not take long."""
    base: float = 0.5
    """Seconds before the second try; each next wait is twice as long."""
    longest: float = 60.0
    """Seconds that are waited at most, whatever the server asks for."""
    timeout: float = 60.0
    """Seconds that a request may take."""
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    jitter: Callable[[], float] = field(default=random.random, repr=False)
    """From 0 to 1: spreads the tries of many clients."""

    def wait(self, failures: int, asked: float | None) -> None:
        """Sleep before the next try, at least as long as the server asked for."""
        delay = self.base * 2.0 ** (failures - 1) * (0.5 + 0.5 * self.jitter())
        self.sleep(min(max(delay, asked or 0.0), self.longest))


PATIENCE = Patience()


class HttpEncoder:
    """Posts texts in batches; the key is read from the environment for each request and kept nowhere."""

    kind = "http"

    def __init__(
        self,
        url: str,
        model: str,
        options: EncoderOptions = DEFAULT_OPTIONS,
        patience: Patience = PATIENCE,
    ) -> None:
        check_bounds(options)
        self.name = model
        self._options = options
        self._patience = patience
        self._endpoint = _endpoint(url)
        self._prompts = chosen(options, {}, None, [model])
        self._bodies = _bodies(options.http_body)
        self._reached = False

    def __repr__(self) -> str:
        return f"HttpEncoder({self.url!r}, {self.name!r})"

    @property
    def url(self) -> str:
        """Where it posts to, without user, password or query."""
        return self._endpoint.shown

    @cached_property
    def fingerprint(self) -> str:
        """Of URL, model, prompts, request and the vectors of a few texts: a server may change its weights."""
        parts: dict[str, Any] = {
            "kind": self.kind,
            "url": self.url,
            "model": self.name,
            "prompts": [self._prompts.query, self._prompts.passage],
            "truncate_dim": self._options.truncate_dim,
            "bodies": self._bodies,
        }
        return probed_fingerprint(parts, self._probes)

    @cached_property
    def card(self) -> EncoderCard:
        """What a result records of it; asks the server once."""
        host = urlsplit(self.url).netloc
        return EncoderCard(
            name=self.name,
            kind=self.kind,
            slug=slug(
                f"http-{host}-{self.name}-{short(self.fingerprint)}",
                given(self._options, USED_OPTIONS),
            ),
            fingerprint=self.fingerprint,
            query_prompt=self._prompts.query,
            passage_prompt=self._prompts.passage,
            notes=(
                *self._prompts.notes,
                f"server: {self.url}",
                *(
                    f"each request for {role} texts says {', '.join(body)}, too"
                    for role, body in self._bodies.items()
                    if body
                ),
                *self._prefix_notes(),
                *unused_notes(self._options, self.kind, USED_OPTIONS),
            ),
        )

    @property
    def dimension(self) -> int:
        """Length of its vectors; asks the server once."""
        return int(self._probes.shape[1])

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row a text, in requests of at most `BATCH` texts."""
        prompt = self._prompt(role)
        batches = [list(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        if not batches:
            return np.zeros((0, self.dimension), np.float32)
        rows = [self._batch(batch, [prompt + text for text in batch], role) for batch in batches]
        widths = {block.shape[1] for block in rows}
        if len(widths) > 1:
            raise BadVectorsError(
                f"{self.url} gave vectors of {sorted(widths)} numbers: one model gives one length"
            )
        cut = self._options.truncate_dim
        if cut is not None and cut > min(widths):
            raise InputError(
                f"--truncate-dim {cut}: the vectors of {self.name} have only {min(widths)} numbers"
            )
        return np.ascontiguousarray(np.concatenate(rows)[:, :cut])

    @cached_property
    def _probes(self) -> Floats:
        return self.encode(PROBES, "passage")

    def _prompt(self, role: Role) -> str:
        return self._prompts.query if role == "query" else self._prompts.passage

    def _prefix_notes(self) -> Iterator[str]:
        """What the server puts before texts itself, as far as it counts tokens, and what comes on top."""
        for role in ROLES:
            tokens = self._own_tokens(role)
            if tokens > 0 and (prompt := self._prompt(role)):
                yield (
                    f"TWO PREFIXES: the server puts some {tokens} tokens before each {role} itself,"
                    f" and our prompt {prompt!r} comes on top; --{role}-prompt '' leaves ours out,"
                    f" --http-body {role}=JSON tells the server the role"
                )
            elif tokens > 0:
                yield f"the server puts some {tokens} tokens before each {role} itself"

    def _own_tokens(self, role: Role) -> int:
        """How many tokens the server adds to a text, special ones aside; 0 where it does not tell."""
        one, nine = (self._counted("a" + " a" * more, role) for more in (0, 8))
        if one is None or nine is None:
            return 0
        each, rest = divmod(nine - one, 8)
        return 0 if rest or each < 1 else one - each - SPECIAL_TOKENS

    def _counted(self, text: str, role: Role) -> int | None:
        usage = self._asked([text], role).get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return tokens if isinstance(tokens, int) else None

    def _asked(self, inputs: list[str], role: Role) -> dict[str, Any]:
        body = {"model": self.name, "input": inputs, "encoding_format": "float"}
        answer = self._post(self._bodies[role] | body)
        return answer if isinstance(answer, dict) else {}

    def _batch(self, texts: Sequence[str], inputs: list[str], role: Role) -> Floats:
        data = self._asked(inputs, role).get("data")
        if not isinstance(data, list) or not all(
            isinstance(d, dict) and "embedding" in d for d in data
        ):
            raise InputError(
                f"{self.url} answers, but not with embeddings: is this the URL of an embeddings API?"
            )
        if len(data) != len(texts):
            raise BadVectorsError(
                f"{self.url} gave {len(data)} vectors for {len(texts)} texts, "
                f"the first of them {shortened(texts[0])}"
            )
        return checked([row["embedding"] for row in _ordered(data, self.url)], texts)

    def _post(self, body: Mapping[str, Any]) -> Any:
        import httpx

        failures = 0
        while True:
            asked: float | None = None
            try:
                response = self._client.post(self._endpoint.url, json=body, headers=self._headers())
            except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
                reason = f"{type(error).__name__}: {self._scrubbed(str(error))}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise InputError(
                    f"{self.url}: {type(error).__name__}: {self._scrubbed(str(error))}"
                ) from None
            else:
                self._reached = True
                if response.status_code == 200:
                    return _json(response, self.url)
                if response.status_code != 429 and response.status_code < 500:
                    raise InputError(self._refusal(response))
                reason = f"HTTP {response.status_code}: {self._scrubbed(response.text)}"
                asked = _retry_after(response.headers.get("retry-after"))
            failures += 1
            tries = self._patience.tries if self._reached else self._patience.first_tries
            if failures >= tries:
                raise OutOfReachError(
                    f"{self.url} gave no vectors in {failures} tries ({reason}): is the server up, is the "
                    "address right?"
                )
            self._patience.wait(failures, asked)

    def _refusal(self, response: httpx.Response) -> str:
        said = self._scrubbed(response.text)
        status = response.status_code
        if status in (401, 403):
            variable = self._options.api_key_env
            state = "is set" if os.environ.get(variable) else "is not set"
            return f"{self.url} refuses the key (HTTP {status}: {said}); ${variable} {state}"
        if status == 404:
            return f"{self.url} knows no such path or model {self.name!r} (HTTP 404: {said})"
        return f"{self.url} refuses the request for model {self.name!r} (HTTP {status}: {said})"

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._options.api_key_env)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _scrubbed(self, text: str) -> str:
        """What a server or library said, on one short line and without the key or a password."""
        stated = (value for body in self._bodies.values() for value in body.values())
        long = (value for value in stated if isinstance(value, str) and len(value) >= MAY_BE_SECRET)
        key = os.environ.get(self._options.api_key_env) or ""
        said = redacted(text, (key, *self._endpoint.secrets, *long))
        return visible(" ".join(said.split())[:200]) or "no reason given"

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        client = httpx.Client(
            timeout=self._patience.timeout, auth=self._endpoint.login, follow_redirects=False
        )
        weakref.finalize(self, client.close)
        return client


@dataclass(frozen=True, slots=True)
class _Endpoint:
    url: str = field(repr=False)
    """With its query, without user and password."""
    shown: str
    login: tuple[str, str] | None = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no message."""
        login = self.login or ()
        return (":".join(login), *login, urlsplit(self.url).query)


def load_http(spec: str, options: EncoderOptions) -> HttpEncoder:
    """The encoder of ``http:<url>#<model>``; ``http://…#<model>`` is the same."""
    rest = spec.removeprefix("http:") if spec.startswith(("http:http:", "http:https:")) else spec
    url, _, model = rest.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not model:
        shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        raise InputError(
            f"{shown}: http:<url>#<model> is wanted, like http:https://api.example.com/v1#text-embed"
        )
    return HttpEncoder(url, unquote(model), options)


def _bodies(stated: Sequence[str]) -> dict[Role, dict[str, Any]]:
    """What `--http-body` adds to the requests of each role; no message shows a value, it may be a secret."""
    found: dict[Role, dict[str, Any]] = {}
    for text in stated:
        name, _, content = text.partition("=")
        role = next((role for role in ROLES if role == name), None)
        if role is None or role in found:
            raise InputError("--http-body wants query=JSON and passage=JSON, each once at most")
        try:
            body = json.loads(content)
            # NaN and half surrogate pairs are no JSON that a server would take.
            json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "numbers and texts that JSON does not have")
            raise InputError(f"--http-body {role}=… is no JSON: {reason}") from None
        if not isinstance(body, dict) or set(body) & set(OURS):
            raise InputError(
                f"--http-body {role}=… wants an object without {', '.join(OURS)}, such as"
                f""" {role}='{{"input_type": "{role}"}}'"""
            )
        found[role] = body
    return {role: found.get(role, {}) for role in ROLES}


def _endpoint(url: str) -> _Endpoint:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    path = path if path.endswith("/embeddings") else f"{path}/embeddings"
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return _Endpoint(
        urlunsplit((parts.scheme, host, path, parts.query, "")),
        urlunsplit((parts.scheme, host, path, "", "")),
        login,
    )


def _ordered(data: list[dict[str, Any]], url: str) -> list[dict[str, Any]]:
    """The rows by their `index`; servers may answer in any order, and some leave the field out."""
    places: list[Any] = [row.get("index") for row in data]
    if all(place is None for place in places):
        return data
    if not all(isinstance(place, int) for place in places) or sorted(places) != list(
        range(len(data))
    ):
        raise BadVectorsError(
            f"{url} numbered its {len(data)} vectors {places[:5]}…, not 0 to {len(data) - 1}"
        )
    return sorted(data, key=lambda row: int(row["index"]))


def _json(response: httpx.Response, url: str) -> Any:
    try:
        return parse_json(response.content, lone="keep", strict=False)
    except ValueError as error:
        raise InputError(
            f"{url} answers, but not with JSON (it {error}): is this the URL of an embeddings API?"
        ) from error


def _retry_after(stated: str | None) -> float | None:
    """Seconds that a server asks to wait: a number or a date."""
    if not stated:
        return None
    try:
        return max(float(stated), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(stated).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None
