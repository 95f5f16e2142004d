"""Inside a world there is no real clock, no real dice, no socket and no thread; outside, everything is as it was."""

# ruff: noqa: PLW0108  # each is looked up when it is called, not before
from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.testing.world.guard import guarded
from crossdock.testing.world.loop import BEGIN_SECONDS, Stuck, Unreal, VirtualLoop
from crossdock.testing.world.network import simulated_socket

REAL: dict[str, Callable[[], object]] = {
    "time": lambda: time.time(),
    "time_ns": lambda: time.time_ns(),
    "monotonic": lambda: time.monotonic(),
    "perf_counter": lambda: time.perf_counter(),
    "sleep": lambda: time.sleep(0),
    "urandom": lambda: os.urandom(1),
    "random": lambda: random.random(),
    "randrange": lambda: random.randrange(2),
    "shuffle": lambda: random.shuffle([1]),
    "token": lambda: secrets.token_hex(1),
    "uuid4": lambda: uuid.uuid4(),
    "socket": lambda: socket.socket(),
    "socketpair": lambda: socket.socketpair(),
    "getaddrinfo": lambda: socket.getaddrinfo("localhost", 1),
    "thread": lambda: threading.Thread(target=int).start(),
    "pool": lambda: ThreadPoolExecutor(1).submit(int),
    "process": lambda: subprocess.Popen(["true"]),
}


@pytest.mark.parametrize("name", REAL)
def test_what_is_real_raises_and_is_told(name: str) -> None:
    told: list[Unreal] = []
    with guarded(told.append), pytest.raises(Unreal):
        REAL[name]()
    assert told


def test_outside_it_everything_is_as_it_was() -> None:
    before = time.time, os.urandom, random.random, socket.socket.__init__, threading.Thread.start
    with guarded(lambda _: None):
        pass
    assert (time.time, os.urandom, random.random, socket.socket.__init__, threading.Thread.start) == before


def test_another_thread_keeps_its_clock() -> None:
    go, seen = threading.Event(), list[float]()

    def look() -> None:
        go.wait(10)
        seen.append(time.time())

    other = threading.Thread(target=look)
    other.start()
    with guarded(lambda _: None):
        go.set()
        while other.is_alive():
            pass
    assert seen


def test_a_simulated_socket_is_one_and_has_no_descriptor() -> None:
    with guarded(lambda _: None):
        one = simulated_socket(socket.AF_INET)
    assert isinstance(one, socket.socket)
    assert one.fileno() == -1


def on_a_loop(*, dice: random.Random | None = None) -> VirtualLoop:
    return VirtualLoop(dice=dice)


def test_a_day_passes_at_once() -> None:
    loop = on_a_loop()
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == BEGIN_SECONDS + 86_400
    assert time.monotonic() - began < 60
    loop.close()


async def ask_for_a_thread() -> None:
    await asyncio.to_thread(int)


async def ask_for_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("example.com", 80)


async def call_past_the_egress() -> None:
    await asyncio.open_connection("127.0.0.1", 80)


@pytest.mark.parametrize("ask", [ask_for_a_thread, ask_for_a_name, call_past_the_egress])
def test_a_loop_has_no_threads_names_or_connections_of_its_own(ask: Callable[[], object]) -> None:
    loop = on_a_loop()
    with pytest.raises(Unreal):
        loop.run_until_complete(ask())  # type: ignore[arg-type]
    loop.close()


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_world_that_stands_still_says_so() -> None:
    loop = on_a_loop()
    task = loop.create_task(wait_for_ever())
    with pytest.raises(Stuck):
        loop.run_until_complete(task)
    loop.put_away([task])
    loop.close()


async def order() -> list[int]:
    done: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(one(number))
    return done


def test_what_is_ready_at_once_is_shuffled_by_the_seed_alone() -> None:
    def of(seed: int | None) -> list[int]:
        loop = on_a_loop(dice=None if seed is None else random.Random(seed))
        try:
            return loop.run_until_complete(order())
        finally:
            loop.close()

    assert of(None) == list(range(8))
    assert of(1) == of(1)
    assert len({tuple(of(seed)) for seed in range(6)}) > 1
