"""A receiver as cheap as can be: it answers 204 and counts. `GET /` tells how many, and the delays of those that carry
a CloudEvents `time`. A POST to `/hang` is answered after HANG_SECONDS, one to `/fail` with 500; neither counts among
those that were taken. The delays of events whose id begins with `good-` stand by themselves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import sys
import time
from datetime import datetime
from typing import cast

import uvloop

ORDER = re.compile(rb'"order_id":"([^"]+)"')
AMOUNT = re.compile(rb'"amount":([0-9.]+)')
TIME = re.compile(rb'"time":"([^"]+)"')
ANSWER = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"

HANG_SECONDS = 30.0
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Receiver(asyncio.Protocol):
    count = 0
    ids: dict[bytes, int] = {}
    delays_ms: list[float] = []
    first = 0.0
    last = 0.0
    bodies: dict[bytes, bytes] = {}
    differing = 0
    inversions = 0
    amounts: dict[bytes, float] = {}
    ack_losses = 0
    ack_loss = 0.0
    refuse = 0.0
    dice = random.Random(7)
    good_ms: list[float] = []
    hung = 0
    failed = 0

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            mark = head.find(b"content-length:")
            length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        kind = type(self)
        if head.startswith(b"get /"):
            self._transport.write(self._told(reset=head.startswith(b"get /reset")))
            return
        if self._bad(head):
            return
        now = time.time()
        kind.first = kind.first or now
        kind.last = now
        kind.count += 1
        mark = head.find(b"webhook-id:")
        if mark >= 0:
            name = head[mark + 11 :].split(b"\r\n", 1)[0].strip()
            kind.ids[name] = kind.ids.get(name, 0) + 1
            digest = hashlib.sha256(body).digest()
            kind.differing += kind.bodies.setdefault(name, digest) != digest
        if (order := ORDER.search(body)) and (amount := AMOUNT.search(body)) and kind.ids.get(name, 0) <= 1:
            # The amounts of one order rise: a first receipt after a higher one came out of order.
            number, last = float(amount[1]), kind.amounts.get(order[1], 0.0)
            kind.inversions += number < last
            kind.amounts[order[1]] = max(number, last)
        if found := TIME.search(body):
            delay = (now - datetime.fromisoformat(found[1].decode()).timestamp()) * 1000
            (kind.good_ms if b"webhook-id: good-" in head else kind.delays_ms).append(delay)
        if kind.ack_loss and kind.dice.random() < kind.ack_loss:
            kind.ack_losses += 1
            self._transport.abort()
            return
        self._transport.write(ANSWER)

    def _bad(self, head: bytes) -> bool:
        """Whether it was answered, or will be, without being taken."""
        kind = type(self)
        if head.startswith(b"post /hang"):
            kind.hung += 1
            asyncio.get_running_loop().call_later(HANG_SECONDS, self._answer_late)
        elif head.startswith(b"post /fail"):
            kind.failed += 1
            self._transport.write(BROKEN)
        elif kind.refuse and kind.dice.random() < kind.refuse:
            self._transport.write(REFUSAL)
        else:
            return False
        return True

    def _answer_late(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)

    def _told(self, *, reset: bool) -> bytes:
        kind = type(self)
        body = json.dumps(
            {
                "count": kind.count,
                "distinct": len(kind.ids),
                "seconds": kind.last - kind.first,
                "delays_ms": kind.delays_ms,
                "differing": kind.differing,
                "inversions": kind.inversions,
                "ack_losses": kind.ack_losses,
                "good_ms": kind.good_ms,
                "hung": kind.hung,
                "failed": kind.failed,
            }
        ).encode()
        if reset:
            kind.count, kind.ids, kind.delays_ms, kind.first, kind.last = 0, {}, [], 0.0, 0.0
            kind.inversions, kind.amounts, kind.hung, kind.failed = 0, {}, 0, 0
            kind.good_ms = []
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    Receiver.ack_loss, Receiver.refuse = (float(value) for value in (*sys.argv[2:4], "0", "0")[:2])
    uvloop.run(main(int(sys.argv[1])))
