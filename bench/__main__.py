"""`make bench`: durable accepts a second and deliveries a second of one process, on each engine, beside a baseline of
the same run; then `bench.scale`, how PostgreSQL carries more. Options: `--engine sqlite,postgres`, `--no-scale`.

Accepting:   signed webhooks over 64 keep-alive connections, each answered after its commit. Baseline: the same server
             with an app that reads the body and answers 202, without a journal.
Delivering:  events that wait in the journal are posted, signed, to a receiver of another process. Baseline: a bare
             loop that posts as many bodies of that size with the same client (drivers.http1), without lanes.
The times of accepting, and of the bare loop, are from a request to its answer. The times of delivering are from the
sale to the receipt, at a third of the measured rate. Load generator, receiver and Crossdock share the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench import load, scale
from bench.posting import post_all
from bench.stage import SECRET, STORE, Stage, connect, hook, order, placed, say, stage
from crossdock.demo.processes import Processes, free_ports, get

CONNECTIONS = 64
SECONDS = 6.0
WAITING = 20_000
PORTIONS = 50  # a second, of the steady sales: larger portions would measure their own length


def signed(port: int, connection: str) -> Iterator[bytes]:
    """Requests as a till sends them, each another order, signed as orders.generic asks."""
    for number in itertools.count():
        body = json.dumps(order(number)).encode()
        moment = str(int(time.time()))
        digest = hmac.digest(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hex()
        headers = {"content-type": "application/json", "x-signature": digest, "x-timestamp": moment}
        yield load.post(port, f"/in/{connection}", body, headers)


def shown(name: str, tally: load.Tally) -> None:
    wrong = {status: count for status, count in tally.statuses.items() if status not in (200, 202, 204)}
    say(
        f"  {name:<34}{tally.per_second:>9,.0f}/s   p50 {tally.percentile_ms(0.5):6.1f} ms"
        f"   p99 {tally.percentile_ms(0.99):6.1f} ms" + (f"   others {wrong}" if wrong else "")
    )


def accepting(directory: Path, engines: Sequence[str]) -> None:
    say("Durable accepts (signed webhooks, one event each)")
    with Processes(directory) as processes:
        (port,) = free_ports(1)
        processes.start("bare", ["-m", "bench.bare", str(port)], ready="ready")
        requests = signed(port, "con_00000000000000000000000000")
        bare = uvloop.run(load.run(port, requests, connections=CONNECTIONS, seconds=SECONDS))
    shown("baseline: no checks, no journal", bare)
    for engine in engines:
        with stage(engine) as one:
            till = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
            requests = signed(one.port, till)
            full = uvloop.run(load.run(one.port, requests, connections=CONNECTIONS, seconds=SECONDS))
            kept = next(lane for lane in one.client.lanes(STORE)["items"] if lane["connection"] == till)["accepted"]
        shown(f"{engine}: accepted after the commit", full)
        say(f"  in the journal {kept:,}, answered 202 {full.statuses.get(202, 0):,}")
        say(f"  ratio to the baseline {full.per_second / bare.per_second:.2f}")
    say("")


def fill(one: Stage, count: int, start: int) -> None:
    for first in range(start, start + count, 1_000):
        one.core.publish(STORE, [placed(number) for number in range(first, min(first + 1_000, start + count))])


def received(one: Stage, count: int, seconds_max: float) -> dict[str, Any]:
    until = time.monotonic() + seconds_max
    while True:
        seen: dict[str, Any] = get(one.receiver, "/")
        if seen["distinct"] >= count or time.monotonic() > until:
            return seen
        time.sleep(0.2)


def delivering(engine: str) -> None:
    say(f"Deliveries on {engine} (signed webhooks, {WAITING:,} waiting)")
    with stage(engine) as one:
        bare = uvloop.run(post_all(one.receiver, WAITING, CONNECTIONS))
        get(one.receiver, "/reset")
        connection = hook(one)
        one.client.pause(STORE, connection)
        fill(one, WAITING, 0)
        one.client.resume(STORE, connection)
        seen = received(one, WAITING, 120)
        rate = seen["count"] / seen["seconds"]
        get(one.receiver, "/reset")
        steady(one, rate / 3)
        delays = sorted(get(one.receiver, "/")["delays_ms"])
    shown("baseline: a bare loop", bare)
    say(f"  {'delivered along a lane':<34}{rate:>9,.0f}/s   received {seen['distinct']:,} of {WAITING:,}")
    say(f"  ratio to the baseline {rate / bare.per_second:.2f}")
    middle, high = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    say(f"  sale to receipt at {rate / 3:,.0f}/s: p50 {middle:.1f} ms   p99 {high:.1f} ms\n")


def steady(one: Stage, rate: float) -> None:
    """Small portions at an even pace for five seconds."""
    number = WAITING
    portion = max(1, int(rate / PORTIONS))
    begin = time.monotonic()
    for turn in range(5 * PORTIONS):
        time.sleep(max(0.0, begin + turn / PORTIONS - time.monotonic()))
        one.core.publish(STORE, [placed(number + step) for step in range(portion)])
        number += portion
    received(one, number - WAITING, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="sqlite,postgres")
    parser.add_argument("--no-scale", action="store_true")
    given = parser.parse_args()
    engines = given.engine.split(",")
    with tempfile.TemporaryDirectory() as directory:
        accepting(Path(directory), engines)
    for engine in engines:
        delivering(engine)
    if "postgres" in engines and not given.no_scale:
        scale.run(scale.PARTS, scale.ENTRIES)


if __name__ == "__main__":
    main()
