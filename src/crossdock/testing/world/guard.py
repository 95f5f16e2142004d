"""While a world runs, its thread has no real clock, no real dice, no real sockets and no threads: each raises `Unreal`.

Other threads of the interpreter (a test runner's own) go on as before."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdock.testing.world.loop import Unreal

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "time": (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
        "thread_time", "sleep",
    ),
    "os": ("urandom", "getrandom", "fork"),
    "random": (
        "random", "randint", "randrange", "randbytes", "getrandbits", "choice", "choices", "shuffle", "sample",
        "uniform", "triangular", "gauss", "normalvariate", "expovariate", "betavariate", "seed",
    ),
    "secrets": ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "randbits", "choice"),
    "uuid": ("uuid1", "uuid4"),
    "socket": ("create_connection", "create_server", "getaddrinfo", "gethostbyname", "socketpair", "fromfd"),
    "subprocess": ("Popen",),
}  # fmt: skip
METHODS: tuple[tuple[str, str, str], ...] = (
    ("socket", "socket", "__init__"),
    ("threading", "Thread", "start"),
    ("concurrent.futures", "ThreadPoolExecutor", "submit"),
    ("random", "SystemRandom", "random"),
    ("random", "SystemRandom", "getrandbits"),
)
"""Classes stay what they are, so that `isinstance` holds; only what makes them real is taken away."""


@contextlib.contextmanager
def guarded(breached: Callable[[Unreal], None]) -> Iterator[None]:
    """Takes the real world away from the calling thread. `breached` hears of it, whoever swallows the error."""
    hear = Ears(threading.get_ident(), breached)
    standing: list[tuple[Any, str, Any]] = []
    try:
        for module_name, names in FORBIDDEN.items():
            module = importlib.import_module(module_name)
            for name in names:
                if hasattr(module, name):
                    _replace(standing, module, name, f"{module_name}.{name}", hear)
        for module_name, class_name, name in METHODS:
            found = getattr(importlib.import_module(module_name), class_name)
            _replace(standing, found, name, f"{module_name}.{class_name}.{name}", hear)
        yield
    finally:
        for place, name, real in reversed(standing):
            setattr(place, name, real)


@dataclass(frozen=True, slots=True)
class Ears:
    owner: int
    breached: Callable[[Unreal], None]


def _replace(standing: list[tuple[Any, str, Any]], place: Any, name: str, shown: str, ears: Ears) -> None:
    real = getattr(place, name)
    standing.append((place, name, real))
    setattr(place, name, refusing(shown, real, ears))


def refusing(shown: str, real: Callable[..., Any], ears: Ears) -> Callable[..., Any]:
    """Raises in the owner's thread, and is the real thing in every other."""

    def refused(*args: Any, **named: Any) -> Any:
        if threading.get_ident() == ears.owner:
            caller = sys._getframe(1)
            where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
            error = Unreal(f"{shown} was called inside the world, at {where}.")
            ears.breached(error)
            raise error
        return real(*args, **named)

    return refused
