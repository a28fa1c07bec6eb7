"""Workers on a Ray cluster: actors of Ray Core that end with the command or with a failure.

A worker that ends is replaced, and its unit is done again by the next worker that is free. A new worker gets a unit
only after it has opened the job, so a worker that still waits for a place in the cluster holds up no unit. Ray is told to
restart no actor: it would create the actor with arguments that were lost with its node.
"""

from __future__ import annotations

import gc
import logging
import os
import platform
import socket
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import ray

from xlir_bench.errors import InputError, OutOfReachError, XlirError
from xlir_bench.executor.jobs import Done, Job, Made, Unit, processor, stderr_dropped
from xlir_bench.version import __version__

MOST_DEATHS = 5
"""A unit is given up after this many workers ended in it, a job after this many in a row ended before they opened it."""
PATIENCE = 30.0
"""After this many seconds without a busy worker, a message says what workers wait for."""
ANSWER = 5.0
"""Seconds that the head of a cluster has to answer in."""
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""The first frame of HTTP/2, the protocol of gRPC; its fourth byte is its kind."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
GPU_TYPE = "accelerator_type:"
"""How Ray's resources name the kind of a node's GPUs."""
SENT = ("XLIR_CACHE", "XLIR_DATA")
"""Environment variables that workers get from this process; keys and tokens come from their own nodes."""


@contextmanager
def connected(
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    tell: Callable[[str], None],
) -> Iterator[Cluster]:
    """Workers of the cluster at this address.

    Without an address: of the cluster that RAY_ADDRESS names, else of the one that this machine is a node of, else of
    one that is started here and stopped at the end.
    """
    with ExitStack() as stack:
        if not ray.is_initialized():
            _join(address)
            stack.callback(ray.shutdown)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cluster = Cluster(*shared(nodes, workers, gpus_per_worker), tell)
        stack.callback(cluster.dismiss)
        yield cluster


def _join(option: str | None) -> None:
    """Connect this process to a cluster, or start one; an error says in one line why that failed."""
    address = option or os.environ.get("RAY_ADDRESS") or "auto"
    if "://" in address:
        raise InputError(
            f"{address} is of Ray's client protocol or its dashboard: run this on a node of the cluster, such as by"
            " `ray job submit -- xlir-bench run … --on ray`"
        )
    if address not in ("auto", "local") and not _answers(address):
        source = f"--on ray:{address}" if option else f"RAY_ADDRESS={address}"
        raise OutOfReachError(
            f"{source}: no head of a cluster answers there; name one, HOST:PORT as `ray start --head` printed it"
        )
    if address == "auto" and not _answers(_last_started()):
        address = "local"  # there is none, or it ended without `ray stop`
    variables = {name: os.environ[name] for name in SENT if name in os.environ}
    _leave_stdout_alone()
    try:
        with nullcontext() if address == "local" else stderr_dropped():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
                runtime_env={"env_vars": variables},
            )
    except Exception as error:  # Ray raises a plain Exception where a node does not start in time
        if address == "local":
            why = f"cannot start Ray here ({_line(error)}): try again, or name a cluster, --on ray:HOST:PORT"
            raise OutOfReachError(why) from error
        raise OutOfReachError(
            f"cannot join the Ray cluster at {'this machine' if address == 'auto' else address} ({_line(error)}): run this on a node of it, with"
            " its release of Ray and, if it wants one, its token (RAY_AUTH_MODE=token and ~/.ray/auth_token)"
        ) from error


def _leave_stdout_alone() -> None:
    """Send Ray's messages about nodes and workers to stderr: stdout may hold the JSON of --json."""
    with suppress(ImportError, AttributeError):  # private names: another release may lack them
        from ray._private import worker

        if not isinstance(worker.print_to_stdstream, partial):
            worker.print_to_stdstream = partial(_on_stderr, worker.print_to_stdstream)


def _on_stderr(write: Callable[..., None], data: dict[str, Any], **options: Any) -> None:
    write(data | {"is_err": True}, **options)


def _last_started() -> str:
    """The address of the cluster that `ray start` last started on this machine, or joined it to."""
    with suppress(OSError):
        folder = Path(os.environ.get("RAY_TMPDIR", "/tmp"))  # noqa: S108
        return (folder / "ray/ray_current_cluster").read_text(encoding="utf-8")
    return ""


def _answers(address: str) -> bool:
    """Whether a gRPC server, like a cluster's head, answers at the address; Ray would wait twenty minutes for anything else."""
    host, _, port = address.strip().rpartition(":")
    with suppress(OSError, ValueError, OverflowError):
        place = host.strip("[]"), int(port)
        with (
            socket.create_connection(place, timeout=ANSWER) as server,
            server.makefile("rb") as answer,
        ):
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return True
            server.sendall(GREETING)
            return answer.read(len(SETTINGS))[3:4] == SETTINGS[3:4]
    return False


def shared(
    nodes: Sequence[dict[str, float]], workers: int | None, gpus_per_worker: float | None
) -> tuple[int, int, float]:
    """How many workers, and how many processors and GPUs each has; by default one worker for each GPU, else for each node."""
    if gpus_per_worker is None:
        gpus_per_worker = 1.0 if any(node.get("GPU") for node in nodes) else 0.0
    gpus = gpus_per_worker
    if gpus != round(gpus, 4 if gpus < 1 else 0):  # Ray counts no finer
        raise InputError(
            f"--gpus-per-worker {gpus:g}: a whole number is wanted, or a part of one with four digits at most"
        )

    def by_gpus(count: float) -> float:
        """How many workers so many GPUs have room for; a part of a GPU is never put together from two."""
        if not gpus:
            return float("inf")
        return count // gpus if gpus >= 1 else int(count) * int(1 / gpus + 1e-9)

    def room(cpus: int) -> int:
        """How many workers fit, each with so many processors."""
        fit = (min(node.get("CPU", 0) // cpus, by_gpus(node.get("GPU", 0))) for node in nodes)
        return int(sum(fit))

    if not room(1):
        wanted = f"{gpus:g} GPU(s) and a processor" if gpus else "a processor"
        raise InputError(
            f"no node of the cluster has {wanted} for a worker: try another --gpus-per-worker"
        )
    if workers is None:
        workers = room(1) if gpus else sum(node.get("CPU", 0) >= 1 for node in nodes)
    most = int(max(node.get("CPU", 0) for node in nodes))
    # Workers that do not fit wait until a node joins.
    return workers, next((n for n in range(most, 0, -1) if room(n) >= workers), 1), gpus


@dataclass(slots=True)
class Cluster:
    """The workers of a command, made when they are needed; those that are left serve the next job too."""

    workers: int
    cpus: int
    """Processors of each worker."""
    gpus: float
    tell: Callable[[str], None]
    kinds: Counter[str] = field(default_factory=Counter)
    idle: list[Any] = field(default_factory=list)
    """Workers that wait for the next job."""
    remote: bool = True

    @property
    def device(self) -> str:
        """The device of the workers, whatever this machine has."""
        return "cuda" if self.gpus else "cpu"

    def run(self, job: Job[Unit, Made], units: Iterable[tuple[str, Unit]]) -> Iterator[Done[Made]]:
        """Every unit once, as workers finish them."""
        return _Crew(self, ray.put(job), iter(units)).work()

    def hire(self) -> Any:
        """A worker that is idle, or a new one."""
        if self.idle:
            return self.idle.pop()
        kind = ray.remote(_Worker).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        return kind.remote(str(Path.cwd()))

    def dismiss(self) -> None:
        """End the workers that are idle: until then they hold their processors."""
        while self.idle:
            ray.kill(self.idle.pop())


@dataclass(slots=True)
class _Crew:
    """The workers of one job."""

    cluster: Cluster
    job: Any
    """Where the job lies in Ray's store."""
    waiting: Iterator[tuple[str, Any]]
    again: deque[tuple[str, Any]] = field(default_factory=deque)
    """Units to do before those that wait."""
    opening: dict[Any, Any] = field(default_factory=dict)
    """Workers that are opening the job, by the reference to their answer."""
    busy: dict[Any, tuple[Any, str, Any]] = field(default_factory=dict)
    """Workers with the name of a unit and the unit, by the reference to their answer."""
    deaths: Counter[str] = field(default_factory=Counter)
    unopened: int = 0
    """How many workers in a row ended before they had opened the job."""

    def work(self) -> Iterator[Done[Any]]:
        """Do units until each is done or given up."""
        try:
            for unit in islice(self.waiting, self.cluster.workers):
                self.again.append(unit)
                self._open()
            while self.opening or self.busy:
                ready, _ = ray.wait([*self.opening, *self.busy], timeout=PATIENCE)
                if not ready and not self.busy:
                    self._tell_patience()
                for answer in ready:
                    if answer in self.opening:
                        self._opened(answer)
                    else:
                        yield from self._finished(answer)
        finally:
            # Where the caller stops early, nobody needs the units that are being done.
            for worker in [*self.opening.values(), *(worker for worker, *_ in self.busy.values())]:
                ray.kill(worker)

    def _open(self) -> None:
        worker = self.cluster.hire()
        self.opening[worker.open.remote(self.job)] = worker

    def _opened(self, answer: Any) -> None:
        worker = self.opening.pop(answer)
        try:
            opened: Done[str | None] = ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            raise XlirError(
                f"a worker cannot begin ({_line(error)}): every node wants the same release of xlir-bench"
            ) from error
        except ray.exceptions.RayError as error:
            self._end(worker)
            self.unopened += 1
            if self.unopened < MOST_DEATHS:
                self._open()
            elif not (self.busy or self.opening):
                raise XlirError(
                    f"{self.unopened} workers ended before they could begin ({_line(error)})"
                ) from error
            return
        self.unopened = 0
        if (kind := opened.result()) is not None:
            self.cluster.kinds[kind] += 1
        self._next(worker)

    def _next(self, worker: Any) -> None:
        """Give a worker the next unit, if there is one."""
        unit = self.again.popleft() if self.again else next(self.waiting, None)
        if unit is None:
            self.cluster.idle.append(worker)
            # No unit is left for workers that are still waiting for a place.
            if not self.busy:
                for other in self.opening.values():
                    self._end(other)
                self.opening.clear()
        else:
            name, content = unit
            self.busy[worker.do.remote(name, content)] = worker, name, content

    def _finished(self, answer: Any) -> Iterator[Done[Any]]:
        worker, name, unit = self.busy.pop(answer)
        try:
            done: Done[Any] = ray.get(answer)
        except ray.exceptions.RayTaskError as error:  # the result of the unit cannot be sent
            done = Done(name, error=_failure(f"{name}: {_line(error)}", str(error)))
        except ray.exceptions.RayError as error:
            self._end(worker)
            self.deaths[name] += 1
            if self.deaths[name] < MOST_DEATHS:
                self.again.append((name, unit))
                self.cluster.tell(
                    f"a worker ended ({_line(error)}); its unit is done again: {name}"
                )
            self._open()
            if self.deaths[name] >= MOST_DEATHS:
                why = f"{name}: given up, because it ended {MOST_DEATHS} workers ({_line(error)})"
                yield Done(name, error=XlirError(why))
            return
        self._next(worker)
        yield done

    def _end(self, worker: Any) -> None:
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(worker)

    def _tell_patience(self) -> None:
        free = ray.available_resources()
        has = ", ".join(f"{free.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
        gpus = f" and {self.cluster.gpus:g} GPUs" if self.cluster.gpus else ""
        self.cluster.tell(
            f"no worker has begun yet: each wants {self.cluster.cpus} CPUs{gpus}, and the cluster has free: {has}"
        )


class _Worker:
    """An actor: does the units of one job after another."""

    def __init__(self, folder: str) -> None:
        with suppress(OSError):  # so that relative paths mean the same as for the command
            os.chdir(folder)
        if not _gpus():  # a worker without a GPU must not use one of its node
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.work: Callable[[Any], Any] | None = None
        self.first = True

    def open(self, job: Job[Any, Any]) -> Done[str | None]:
        """Open a job; the answer to the first one has the worker's kind of machine."""
        self.work, first, self.first = None, self.first, False
        gc.collect()  # frees the model of the job before
        try:
            self.work = job.open()
        except Exception as error:
            return Done("open", error=_told(error))
        return Done("open", _machine() if first else None)

    def do(self, name: str, unit: Any) -> Done[Any]:
        """Do a unit."""
        try:
            return Done(name, self.work(unit))  # type: ignore[misc]  # it was opened before
        except Exception as error:
            return Done(name, error=_told(error))


def _told(error: Exception) -> XlirError:
    """The error as one of this project, which every process that has the project can read."""
    trace = traceback.format_exc()
    if isinstance(error, XlirError):
        return _failure(str(error), trace, error.exit_code)
    return _failure(f"{_line(error)} (of a worker; -v shows where)", trace)


def _failure(why: str, trace: str, exit_code: int = XlirError.exit_code) -> XlirError:
    failure = XlirError(why)
    failure.exit_code = exit_code
    failure.add_note(f"In a worker:\n{trace}")
    return failure


def _machine() -> str:
    """The kind of machine: what vectors may depend on besides the encoder, and the release of this project."""
    context = ray.get_runtime_context()
    node = next(each for each in ray.nodes() if each["NodeID"] == context.get_node_id())
    gpus = [name.partition(":")[2] for name in node["Resources"] if name.startswith(GPU_TYPE)]
    kind = [processor(), *(gpus if _gpus() else ())]
    return ", ".join([*kind, f"Python {platform.python_version()}", f"xlir-bench {__version__}"])


def _gpus() -> list[str]:
    """The GPUs of this worker."""
    return list(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))


def _line(error: Exception) -> str:
    """An error in one line. An error of a task begins with a heading of Ray's, and its last line says what it was."""
    lines = [line for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    if type(error).__name__.startswith("RayTaskError"):
        return " ".join(lines[-1].split())[:200]
    return f"{type(error).__name__}: {' '.join(lines[0].split())[:200]}"
