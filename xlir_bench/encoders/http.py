"""Encoders behind a server that speaks the OpenAI embeddings protocol: ``http:<url>#<model>``."""

from __future__ import annotations

import json
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from random import random
from time import sleep, time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from xlir_bench.arrays import slices
from xlir_bench.encoders.check import checked, quoted
from xlir_bench.encoders.digest import PROBES, probed_fingerprint, short, slug
from xlir_bench.encoders.prompts import chosen
from xlir_bench.encoders.protocol import DEFAULT_OPTIONS, EncoderCard, changed_options, unused_notes
from xlir_bench.errors import BadVectorsError, InputError, OutOfReachError
from xlir_bench.escaping import redacted, visible
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.records import ROLES, Floats, Role
from xlir_bench.untrusted import parse_json

if TYPE_CHECKING:
    import httpx

BATCH = 64
"""The most texts in a request."""
USED_OPTIONS = ("query_prompt", "passage_prompt", "truncate_dim", "http_body")
OWN_FIELDS = ("model", "input", "encoding_format")
"""Fields of a request that `--http-body` may not set."""
MAY_BE_SECRET = 12
"""Texts in `--http-body` with at least this many characters are not shown."""
SPECIAL_TOKENS = 2
"""Tokens that a tokenizer may put around a text; a server that counts more adds a prefix."""
TRIES, FIRST_TRIES = 6, 3
"""How often a request is tried; the second number holds until the server answers, so that a wrong address fails soon."""
PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second try, doubled before each further one; and the most seconds, whatever the server asks for."""
TIMEOUT = 60.0
"""Seconds that a request may take."""


class HttpEncoder:
    """Posts texts in batches; the key is read from the environment for each request and kept nowhere."""

    def __init__(self, url: str, model: str, options: EncoderOptions = DEFAULT_OPTIONS) -> None:
        self.name = model
        self._options = options
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
        path = path.removesuffix("/embeddings") + "/embeddings"
        self.url = urlunsplit((parts.scheme, host, path, "", ""))
        """Where texts are posted, without what may be secret: user, password and query."""
        self._query = parts.query
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._login = (user, password) if user else None
        self._prompts = chosen(options, {}, None, [model])
        self._bodies = _bodies(options.http_body)
        self._reached = False

    def __repr__(self) -> str:
        return f"HttpEncoder({self.url!r}, {self.name!r})"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of URL, model, prompts, request and, since a server may change its weights, the vectors of a few texts."""
        parts: dict[str, Any] = {
            "kind": "http",
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
        stem = f"http-{urlsplit(self.url).netloc}-{self.name}-{short(self.fingerprint)}"
        bodies = ((role, ", ".join(body)) for role, body in self._bodies.items() if body)
        return EncoderCard(
            name=self.name,
            kind="http",
            slug=slug(stem, changed_options(self._options, USED_OPTIONS)),
            fingerprint=self.fingerprint,
            query_prompt=self._prompts.query,
            passage_prompt=self._prompts.passage,
            notes=(
                *self._prompts.notes,
                f"server: {self.url}",
                *(f"each request for {role} texts also sends {names}" for role, names in bodies),
                *self._prefix_notes(),
                *unused_notes(self._options, "http", USED_OPTIONS),
            ),
        )

    @property
    def dimension(self) -> int:
        """Length of its vectors; asks the server once."""
        return int(self._probes.shape[1])

    @cached_property
    def _probes(self) -> Floats:
        return self.encode(PROBES, "passage")

    def encode(self, texts: Sequence[str], role: Role) -> Floats:
        """One float32 row per text, in requests of at most `BATCH` texts."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        rows = [self._batch(texts[part], role) for part in slices(len(texts), BATCH)]
        widths = {block.shape[1] for block in rows}
        if len(widths) > 1:
            raise BadVectorsError(f"{self.url} gave vectors of several lengths: {sorted(widths)}")
        cut = self._options.truncate_dim
        if cut is not None and cut > min(widths):
            raise InputError(f"--truncate-dim {cut}: {self.name} gives only {min(widths)} numbers")
        return np.ascontiguousarray(np.concatenate(rows)[:, :cut])

    def _batch(self, texts: Sequence[str], role: Role) -> Floats:
        prompt = self._prompts.of(role)
        data: Any = self._answer([prompt + text for text in texts], role).get("data")
        ok = isinstance(data, list) and all(isinstance(x, dict) and "embedding" in x for x in data)
        if not ok:
            raise InputError(
                f"{self.url} answers, but not with embeddings: is it an embeddings server?"
            )
        if len(data) != len(texts):
            raise BadVectorsError(
                f"{self.url} was asked for {len(texts)} vectors and gave {len(data)}; the first text is {quoted(texts[0])}"
            )
        # Servers may answer in any order, and some leave the numbers out.
        numbers: list[Any] = [row.get("index") for row in data]
        if any(number is not None for number in numbers):
            whole = all(isinstance(number, int) for number in numbers)
            if not whole or sorted(numbers) != [*range(len(data))]:
                raise BadVectorsError(
                    f"{self.url} numbered its {len(data)} vectors {numbers[:5]}…, not 0 to {len(data) - 1}"
                )
            data.sort(key=lambda row: int(row["index"]))
        return checked([row["embedding"] for row in data], texts)

    def _prefix_notes(self) -> Iterator[str]:
        """Notes on tokens that the server puts before texts, if it says how many tokens it counts."""
        for role in ROLES:
            # The token counts of one word and of nine words give the number of tokens that the server adds.
            one, nine = (self._counted_tokens("a" + " a" * more, role) for more in (0, 8))
            if one is None or nine is None or nine <= one or (nine - one) % 8:
                continue
            tokens = one - (nine - one) // 8 - SPECIAL_TOKENS
            if tokens > 0 and (prompt := self._prompts.of(role)):
                yield (
                    f"TWO PREFIXES: the server puts some {tokens} tokens before each {role} itself, and our prompt"
                    f" {prompt!r} is added to them; --{role}-prompt '' leaves ours out, --http-body {role}=JSON tells"
                    " the server the role"
                )
            elif tokens > 0:
                yield f"the server puts some {tokens} tokens before each {role} itself"

    def _counted_tokens(self, text: str, role: Role) -> int | None:
        usage = self._answer([text], role).get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return tokens if isinstance(tokens, int) else None

    def _answer(self, inputs: list[str], role: Role) -> dict[str, Any]:
        """The JSON object that the server answers; empty if the answer is another JSON value."""
        request = {"model": self.name, "input": inputs, "encoding_format": "float"}
        response = self._post(self._bodies[role] | request)
        try:
            answer = parse_json(response.content, lone="keep", strict=False)
        except ValueError as error:
            raise InputError(
                f"{self.url} answers, but not with JSON (it {error}): is this the URL of an embeddings API?"
            ) from error
        return answer if isinstance(answer, dict) else {}

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        import httpx

        key = os.environ.get(self._options.api_key_env)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{self.url}?{self._query}" if self._query else self.url
        temporary = httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError
        failures = 0
        while True:
            requested = 0.0
            try:
                response = self._client.post(address, json=body, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = f"{type(error).__name__}: {self._scrubbed(str(error))}"
                if not isinstance(error, temporary):
                    raise InputError(f"{self.url}: {reason}") from None
            else:
                self._reached = True
                if response.status_code == 200:
                    return response
                if response.status_code != 429 and response.status_code < 500:
                    raise InputError(self._refusal(response))
                reason = f"HTTP {response.status_code}: {self._scrubbed(response.text)}"
                requested = _retry_after(response.headers.get("retry-after"))
            failures += 1
            if failures >= (TRIES if self._reached else FIRST_TRIES):
                raise OutOfReachError(
                    f"{self.url} gave no vectors in {failures} tries ({reason}): is the server up, is the address right?"
                )
            # A random delay, so that many clients do not try again at the same moment.
            delay = PAUSE * 2.0 ** (failures - 1) * (0.5 + 0.5 * random())  # noqa: S311
            sleep(min(max(delay, requested), LONGEST_PAUSE))

    def _refusal(self, response: httpx.Response) -> str:
        status, variable = response.status_code, self._options.api_key_env
        said = f"(HTTP {status}: {self._scrubbed(response.text)})"
        if status in (401, 403):
            return f"{self.url} refuses the key {said}; ${variable} is {'' if os.environ.get(variable) else 'not '}set"
        if status == 404:
            return f"{self.url} knows no such path or model {self.name!r} {said}"
        return f"{self.url} refuses the request for model {self.name!r} {said}"

    def _scrubbed(self, text: str) -> str:
        """What a server or library said, on one short line and without the key or a password."""
        values = (value for body in self._bodies.values() for value in body.values())
        secrets = (x for x in values if isinstance(x, str) and len(x) >= MAY_BE_SECRET)
        key = os.environ.get(self._options.api_key_env) or ""
        login = self._login or ()
        said = redacted(text, (key, ":".join(login), *login, self._query, *secrets))
        return visible(" ".join(said.split())[:200]) or "no reason given"

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        client = httpx.Client(timeout=TIMEOUT, auth=self._login)
        weakref.finalize(self, client.close)
        return client


def load_http(spec: str, options: EncoderOptions) -> HttpEncoder:
    """The encoder of ``http:<url>#<model>``; ``http://…#<model>`` is the same."""
    rest = spec.removeprefix("http:") if spec.startswith(("http:http:", "http:https:")) else spec
    url, _, model = rest.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not model:
        shown = re.sub(r"\?[^#]*", "", re.sub(r"//.*@", "//", rest))
        raise InputError(f"{shown}: give http:<url>#<model>, like http:https://host/v1#model")
    return HttpEncoder(url, unquote(model), options)


def _bodies(stated: Sequence[str]) -> dict[Role, dict[str, Any]]:
    """What `--http-body` adds to the requests of each role. No message shows its values, which may be secret."""
    bodies: dict[Role, dict[str, Any]] = {}
    for text in stated:
        name, _, content = text.partition("=")
        role = next((role for role in ROLES if role == name), None)
        if role is None or role in bodies:
            raise InputError("--http-body takes query=JSON and passage=JSON, each once at most")
        try:
            body = json.loads(content)
            # Servers refuse NaN and unpaired surrogates, which Python takes for JSON.
            json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "numbers and texts that JSON does not have")
            raise InputError(f"--http-body {role}=… is not JSON: {reason}") from None
        if not isinstance(body, dict) or set(body) & set(OWN_FIELDS):
            raise InputError(
                f"--http-body {role}=… takes an object without {', '.join(OWN_FIELDS)}, such as"
                f""" {role}='{{"input_type": "{role}"}}'"""
            )
        bodies[role] = body
    return {role: bodies.get(role, {}) for role in ROLES}


def _retry_after(stated: str | None) -> float:
    """The seconds that a server asks a client to wait, from its header: a number or a date."""
    try:
        return float(stated or 0)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(stated or "").timestamp() - time()
    except (TypeError, ValueError):
        return 0.0
