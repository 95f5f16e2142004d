"""The network of a world: names, addresses, connections. Bytes take time, in order; a crash may swallow what flies.

What a process writes is parsed where it is written (so that it is judged at the moment of sending) and arrives later.
What a far end writes arrives as bytes, cut as the far end likes, in the process's own context. TLS is a promise of the
network: a host proves its names, and shows nothing else of itself.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httptools

from crossdock.testing.world.loop import OWNER, VirtualLoop

TICK_SECONDS = 1e-6  # between two pieces on one line, so that they never change places


class SimulatedSocket(socket.socket):
    """A socket without a descriptor: what the egress holds until the loop makes a connection of it."""

    def __init__(self, family: int) -> None:
        # Never super().__init__: that asks the system for a descriptor.
        self._io_refs = 0
        self._closed = False
        self.wanted = family
        self.peer: tuple[str, int] | None = None

    def setblocking(self, flag: bool, /) -> None:
        """It never blocks."""

    def setsockopt(self, *_: Any) -> None:
        """No option of it is real."""

    def getpeername(self) -> tuple[str, int]:
        if self.peer is None:
            raise OSError(107, "not connected")
        return self.peer

    def close(self) -> None:
        self._closed = True

    def __repr__(self) -> str:
        return f"SimulatedSocket({self.peer})"


def simulated_socket(family: int) -> socket.socket:
    return SimulatedSocket(family)


@dataclass(frozen=True, slots=True)
class Heard:
    """A whole request, as a far end hears it. `sender` is the process, `written_at` when it left it."""

    sender: Any
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    written_at: float
    line: Line = field(repr=False)


class Host(Protocol):
    """A far end. `names` are what it can prove to be."""

    names: frozenset[str]

    def welcomes(self) -> str:
        """`yes`, `refused`, or `silent`: nobody answers at the address."""
        ...

    def written(self, request: Heard) -> None:
        """It has been sent, and is on its way."""
        ...

    def arrived(self, request: Heard) -> None: ...


@dataclass(slots=True)
class Weather:
    """How the network is. Latencies in milliseconds, one way; shares from 0 to 1."""

    latency_ms: tuple[int, int] = (1, 20)
    nameless: float = 0.0  # a name that does not resolve, for once
    misled: float = 0.0  # a name that leads into the private network
    masked: float = 0.0  # a host that cannot prove its name
    swallowed: float = 0.5  # of what flies when its sender crashes


class Network:
    def __init__(self, loop: VirtualLoop, dice: random.Random, told: Callable[[str], None]) -> None:
        self.weather = Weather()
        self._loop = loop
        self._dice = dice
        self._told = told
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._hosts: dict[str, Host] = {}
        self._lines: dict[Any, dict[Line, None]] = {}

    def put(self, host: Host) -> None:
        """Gives the host an address, and its names lead there."""
        number = len(self._hosts) + 1
        address = f"23.{number // 65536}.{number // 256 % 256}.{number % 256}"
        self._hosts[address] = host
        for name in sorted(host.names):
            self._addresses[name] = (address,)

    def latency(self) -> float:
        low, high = self.weather.latency_ms
        return self._dice.randint(low * 1_000, high * 1_000) / 1_000_000

    def happens(self, share: float) -> bool:
        return share > 0 and self._dice.random() < share

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(self.latency())
        if self.happens(self.weather.nameless):
            self._told("dns_fails")
            return ()
        if self.happens(self.weather.misled):
            self._told("dns_lies")
            return ("10.0.0.7",)
        return self._addresses.get(host, ())

    async def connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        await asyncio.sleep(self.latency())
        host = self._hosts.get(address[0])
        welcome = "silent" if host is None else host.welcomes()
        if welcome == "silent":
            await self._loop.create_future()  # who calls has a deadline
        if welcome != "yes":
            raise ConnectionRefusedError(111, "refused")
        cast(SimulatedSocket, sock).peer = address

    async def open(
        self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket, server_hostname: str | None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        address = sock.getpeername()
        host = self._hosts[address[0]]
        await asyncio.sleep(self.latency())
        if server_hostname is not None and (server_hostname not in host.names or self.happens(self.weather.masked)):
            self._told("tls_name_wrong")
            raise ssl.SSLCertVerificationError(1, "certificate verify failed")
        protocol = factory()
        line = Line(self, self._loop, host, cast(asyncio.Protocol, protocol))
        self._lines.setdefault(line.owner, {})[line] = None
        protocol.connection_made(line)
        return line, protocol

    def ended(self, line: Line) -> None:
        self._lines.get(line.owner, {}).pop(line, None)

    def crashed(self, process: object) -> None:
        """What the process had sent may still arrive; nobody hears what comes back."""
        for line in self._lines.pop(process, {}):
            line.cut(lost=self.happens(self.weather.swallowed))


class Line(asyncio.Transport):
    """A connection, seen from the process. Its far end speaks through `deliver` and `hang_up`."""

    def __init__(self, network: Network, loop: VirtualLoop, host: Host, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.owner = OWNER.get()
        self._network = network
        self._loop = loop
        self._host = host
        self._protocol = protocol
        self._closing = False
        self._over = False
        self._there = self._back = 0.0
        self._flying: list[asyncio.TimerHandle] = []
        self._hearing: _Hearing | None = None
        self._inbox: deque[tuple[Callable[[Any], None], object]] = deque()

    # The process's end

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if self._hearing is None:
            self._hearing = _Hearing()
        for method, path, headers, body in self._hearing.fed(bytes(data)):
            heard = Heard(self.owner, method, path, headers, body, self._loop.time(), self)
            self._host.written(heard)
            self._there = max(self._loop.time() + self._network.latency(), self._there + TICK_SECONDS)
            # What arrives belongs to the far end, also when the sender is gone by then.
            self._flying.append(self._loop.world_at(self._there, self._host.arrived, heard))

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._network.ended(self)
            self._loop.call_soon(self._gone, error)

    def _gone(self, error: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._protocol.connection_lost(error)

    def cut(self, *, lost: bool) -> None:
        """The process is dead."""
        self._closing = self._over = True
        for timer in self._flying if lost else ():
            timer.cancel()

    # The far end's end

    def deliver(self, data: bytes, after_seconds: float = 0.0) -> None:
        """These bytes reach the process, after what was sent before them."""
        self._then(self._receive, data, after_seconds)

    def hang_up(self, after_seconds: float = 0.0, *, reset: bool = False) -> None:
        self._then(self._hung_up, reset, after_seconds)

    def _then(self, call: Callable[[Any], None], value: object, after_seconds: float) -> None:
        at = self._loop.time() + after_seconds + self._network.latency()
        self._back = max(at, self._back + TICK_SECONDS)
        self._inbox.append((call, value))
        token = OWNER.set(self.owner)
        try:
            self._loop.call_at(self._back, self._pump)
        finally:
            OWNER.reset(token)

    def _pump(self) -> None:
        """One piece. A process that was frozen gets what came meanwhile in its order."""
        call, value = self._inbox.popleft()
        if not self._over:
            call(value)

    def _receive(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)

    def _hung_up(self, reset: bool) -> None:
        if not self._closing:
            if not reset:
                self._protocol.eof_received()
            self._lose(ConnectionResetError(104, "reset") if reset else None)


class _Hearing:
    """Parses what a process writes, as any server of the world would."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._whole: list[tuple[str, str, dict[str, str], bytes]] = []
        self.on_message_begin()

    def fed(self, data: bytes) -> list[tuple[str, str, dict[str, str], bytes]]:
        self._parser.feed_data(data)
        whole, self._whole = self._whole, []
        return whole

    def on_message_begin(self) -> None:
        self._path = b""
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("ascii")
        self._whole.append((method, self._path.decode("latin-1"), self._headers, self._body))
