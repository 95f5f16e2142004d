"""How PostgreSQL carries more: `python -m bench.scale`.

processes   accepts and deliveries a second with 1, 2 and 4 processes.
lanes       the same work beside 10, 1,000 and 100,000 lanes.
journal     the same work on an empty journal and on one with ten million entries.
both        events in and out at once, one process each.
slots       four processes share 3,000 lanes; one is killed, and its lanes go on.
idle        what a process and the server spend on 1,000 and on 100,000 lanes without work.

The load generator, the receiver, PostgreSQL and Crossdock share the machine. Cost is the CPU time of Crossdock's
processes and of PostgreSQL's per event: it is told beside the rates because the machine's own noise is not in it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import uvloop

from bench import cost, load
from bench.fill import Filled, Wiring, age, stores
from bench.requests import signed_order
from bench.stage import SECRET, OnServer, Stage, order, placed, say, stage
from crossdock.demo.processes import get
from crossdock.model.limits import LEASE_MS, SLOTS

CONNECTIONS = 64
SECONDS = 8.0
EVENTS = 20_000
ACTIVE = 3  # stores that do the work beside the idle ones
LANES_PER_STORE = 3
API = {"api": "api"}
IDLE_AFTER_SECONDS, IDLE_SECONDS = 60, 60  # the first caches are filled, and the server has cleaned up


@dataclass(frozen=True, slots=True)
class Figure:
    """Events a second, and what each cost in microseconds of CPU."""

    rate: float
    crossdock_us: float
    server_us: float
    note: str = ""

    @property
    def cost_us(self) -> float:
        return self.crossdock_us + self.server_us


def shown(name: str, figure: Figure, base: Figure | None = None) -> None:
    ratio = f"   cost x{figure.cost_us / base.cost_us:.2f}" if base else ""
    say(
        f"  {name:<44}{figure.rate:>8,.0f}/s   {figure.crossdock_us:5.0f} + {figure.server_us:4.0f} us an event"
        f"{ratio}{figure.note}"
    )


@contextmanager
def house(parts: Mapping[str, str]) -> Iterator[Stage]:
    with stage("postgres", parts=parts) as one:
        yield one


def wiring(one: Stage) -> Wiring:
    return Wiring(one.data, one.receiver, SECRET)


def server(one: Stage) -> OnServer:
    assert isinstance(one.place, OnServer)
    return one.place


def measured(one: Stage, names: Sequence[str], work: Callable[[], tuple[int, float]]) -> Figure:
    """Runs `work`, which says how many events it was and how many seconds they took."""
    pids = [one.processes.pid(name) for name in names]
    postmaster = server(one).server.pid()
    before, server_before = [cost.of_tree(pid) for pid in pids], cost.of_tree(postmaster)
    events, seconds = work()
    spent = sum(cost.of_tree(pid).since(was) for pid, was in zip(pids, before, strict=True))
    server_spent = cost.of_tree(postmaster).since(server_before)
    return Figure(events / seconds, spent / events * 1e6, server_spent / events * 1e6)


def accepts(one: Stage, ports: Sequence[int], some: Sequence[Filled], numbers: Iterator[int]) -> tuple[int, float]:
    """Signed orders for so many seconds, to each port in turn, from store to store."""

    def requests(port: int) -> Iterator[bytes]:
        for number in numbers:
            yield signed_order(port, some[number % len(some)].till, order(number))

    async def all_of_them() -> list[load.Tally]:
        share = CONNECTIONS // len(ports)
        loads = (load.run(port, requests(port), connections=share, seconds=SECONDS) for port in ports)
        return await load.together(loads)

    tallies = uvloop.run(all_of_them())
    wrong = {status for tally in tallies for status in tally.statuses} - {202}
    if wrong:
        say(f"    other answers: {[tally.statuses for tally in tallies]}")
    return sum(tally.statuses.get(202, 0) for tally in tallies), max(tally.seconds for tally in tallies)


def fill_lanes(one: Stage, some: Sequence[Filled], events: int) -> None:
    """So many sales, spread over the stores."""
    each = max(1, events // len(some))
    numbers = itertools.count()
    for store in some[:events]:
        for first in range(0, each, 1_000):
            one.core.publish(store.store, [placed(next(numbers)) for _ in range(min(1_000, each - first))])


def deliveries(one: Stage, some: Sequence[Filled], events: int = EVENTS) -> Callable[[], tuple[int, float]]:
    """Waits until what lies in the journal has arrived."""

    def work() -> tuple[int, float]:
        until = time.monotonic() + 120
        while (seen := get(one.receiver, "/"))["distinct"] < events and time.monotonic() < until:
            time.sleep(0.1)
        if seen["distinct"] < events:
            say(f"    only {seen['distinct']:,} of {events:,} arrived")
        return seen["distinct"], max(seen["seconds"], 0.001)

    return work


def named(role: str, count: int) -> dict[str, str]:
    return {f"{role}-{number}": role for number in range(count)}


def one_round(count: int, total_stores: int, entries: int = 0) -> tuple[Figure, Figure]:
    """Accepting, then delivering, with so many processes each, beside so many stores and old entries. The work is the
    same each time: that of ACTIVE stores."""
    ingest, deliver = named("ingest", count), named("deliver", count)
    with house({**ingest, **API}) as one:
        every = stores(server(one).server, wiring(one), total_stores)
        if entries:
            say(f"    {entries:,} entries made in {age(server(one).server, [s.store for s in every], entries):.0f} s")
        with psycopg.connect(server(one).server.admin_of_crossdock, autocommit=True) as admin:
            admin.execute("VACUUM ANALYZE")
        some, numbers = every[:ACTIVE], itertools.count()
        ports = [one.ports[name] for name in ingest]
        accepts(one, ports, some, itertools.islice(numbers, 2_000))
        taken = measured(one, list(ingest), lambda: accepts(one, ports, some, numbers))
        fill_lanes(one, some, EVENTS)
        get(one.receiver, "/reset")
        one.parts = {**one.parts, **deliver}
        one.add_ports(deliver)
        waiting = deliveries(one, some, EVENTS // ACTIVE * ACTIVE)
        one.serve(*deliver)
        sent = measured(one, list(deliver), waiting)
    return taken, sent


def by_processes() -> None:
    say("Processes (three stores at work)")
    for count in (1, 2, 4):
        taken, sent = one_round(count, ACTIVE)
        shown(f"accepted, {count} ingest", taken)
        shown(f"delivered, {count} deliver", sent)


def by_lanes() -> None:
    say("Lanes (three stores at work, the others idle)")
    base: tuple[Figure, Figure] | None = None
    for lanes in (10, 1_000, 100_000):
        taken, sent = one_round(1, max(ACTIVE, -(-lanes // LANES_PER_STORE)))
        shown(f"accepted beside {lanes:,} lanes", taken, base and base[0])
        shown(f"delivered beside {lanes:,} lanes", sent, base and base[1])
        base = base or (taken, sent)


def by_journal(entries: int) -> None:
    say("Journal (a thousand stores, three at work)")
    base: tuple[Figure, Figure] | None = None
    for old in (0, entries):
        taken, sent = one_round(1, 1_000, old)
        shown(f"accepted on {old:,} entries", taken, base and base[0])
        shown(f"delivered on {old:,} entries", sent, base and base[1])
        base = base or (taken, sent)


def both() -> None:
    say("In and out at once, one process each (one event a request, ten stores)")
    with house({"ingest": "ingest", "deliver": "deliver", **API}) as one:
        some = stores(server(one).server, wiring(one), 10)
        port = one.ports["ingest"]

        def requests() -> Iterator[bytes]:
            for number in itertools.count():
                event = {**placed(number), "specversion": "1.0", "id": f"b-{number}", "source": "/bench"}
                headers = {"content-type": "application/cloudevents+json"}
                headers["authorization"] = f"Bearer {one.tokens['core']}"
                path = f"/v1/stores/{some[number % len(some)].store}/events"
                yield load.post(port, path, json.dumps(event).encode(), headers)

        def work() -> tuple[int, float]:
            tally = uvloop.run(load.run(port, requests(), connections=CONNECTIONS, seconds=SECONDS * 2))
            return tally.statuses.get(202, 0), tally.seconds

        figure = measured(one, ["ingest", "deliver"], work)
        at_end = get(one.receiver, "/")
        total = int(figure.rate * SECONDS * 2)
        settle, seconds = deliveries(one, some, total)()
        shown("accepted while delivering", figure)
        delays = sorted(at_end["delays_ms"])
        middle, high = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
        say(
            f"  {'delivered while accepting':<44}{at_end['distinct'] / at_end['seconds']:>8,.0f}/s   sale to receipt"
            f" p50 {middle:.0f} ms, p99 {high:.0f} ms; all {settle:,} had arrived {seconds:.1f} s after the first"
        )


def idle() -> None:
    say(f"Idle lanes (one deliver process, over {IDLE_SECONDS} s from {IDLE_AFTER_SECONDS} s after its start)")
    base: tuple[float, ...] | None = None
    for lanes in (1_000, 100_000):
        with house({"ingest": "ingest", **API}) as one:
            stores(server(one).server, wiring(one), -(-lanes // LANES_PER_STORE))
            with psycopg.connect(server(one).server.admin_of_crossdock, autocommit=True) as admin:
                admin.execute("VACUUM ANALYZE")
            one.processes.end("ingest")
            one.processes.end("api")
            one.parts = {"deliver": "deliver"}
            one.add_ports(one.parts)
            one.serve("deliver")
            time.sleep(IDLE_AFTER_SECONDS)
            pid, postmaster = one.processes.pid("deliver"), server(one).server.pid()
            before, server_before = cost.of_tree(pid), cost.of_tree(postmaster)
            time.sleep(IDLE_SECONDS)
            pairs = ((pid, before), (postmaster, server_before))
            spent = [cost.of_tree(one_of).since(was) / IDLE_SECONDS * 1000 for one_of, was in pairs]
            memory = cost.of_tree(pid).memory
        base = base or (memory, *spent)
        say(
            f"  {lanes:>8,} lanes: {memory:6.1f} MiB (x{memory / base[0]:.2f}), {spent[0]:5.1f} ms CPU a second"
            f" (x{spent[0] / base[1]:.2f}), server {spent[1]:5.1f} ms a second (x{spent[1] / base[2]:.2f})"
        )


OWNERS = """
SELECT coalesce(s.owner, ''), count(*) FROM slots AS s LEFT JOIN members AS m ON m.member = s.owner
GROUP BY 1 ORDER BY 2
"""


def slots() -> None:
    say("Slots (four deliver processes, 1,000 stores, 3,000 lanes)")
    names = named("deliver", 4)
    with house({"ingest": "ingest", **API, **names}) as one:
        some = stores(server(one).server, wiring(one), 1_000)
        until = time.monotonic() + 60
        while time.monotonic() < until and not shared(one, 4):
            time.sleep(0.5)
        say(f"  slots of each owner: {one.place.rows(OWNERS)}")
        numbers = itertools.count()
        fill_lanes_keyed(one, some, numbers, 4_000)
        arrived(one, 4_000)
        killed = time.monotonic()
        one.processes.kill("deliver-2")
        fill_lanes_keyed(one, some, numbers, 1_000)  # one each, so that every lane has something to do
        took = arrived(one, 5_000, since=killed)
        fill_lanes_keyed(one, some, numbers, 3_000)
        arrived(one, 8_000)
        seen = get(one.receiver, "/")
        while time.monotonic() < killed + 60 and not shared(one, 3):
            time.sleep(0.5)
        lease = f"the lease is {LEASE_MS / 1000:.0f} s"
        say(f"  one killed: each of its lanes had delivered again {took:.1f} s later ({lease})")
        say(f"  slots of each owner: {one.place.rows(OWNERS)}")
        say(
            f"  {seen['distinct']:,} of 8,000 arrived, {seen['count'] - seen['distinct']} repeats, order violations:"
            f" {seen['inversions']}"
        )


def shared(one: Stage, members: int) -> bool:
    """Whether every slot has an owner, and each member its share."""
    rows = one.place.rows(OWNERS)
    least, most = SLOTS // members, -(-SLOTS // members)
    return len(rows) == members and all(owner and least <= count <= most for owner, count in rows)


def fill_lanes_keyed(one: Stage, some: Sequence[Filled], numbers: Iterator[int], events: int) -> None:
    """Sales in rounds over the stores, each store's all of one order, with amounts that rise."""
    core = one.core
    for turn in range(events):
        store, number = some[turn % len(some)].store, next(numbers)
        sale = placed(number)
        data = {**sale["data"], "order_id": f"p-{store}", "total": {"amount": number + 1, "currency": "EUR"}}
        core.publish(store, [{**sale, "data": data}])


def arrived(one: Stage, events: int, since: float = 0.0) -> float:
    until = time.monotonic() + 90
    while get(one.receiver, "/")["distinct"] < events and time.monotonic() < until:
        time.sleep(0.05)
    return time.monotonic() - since


WORK: Mapping[str, Callable[[int], None]] = {
    "processes": lambda _: by_processes(),
    "lanes": lambda _: by_lanes(),
    "journal": by_journal,
    "both": lambda _: both(),
    "slots": lambda _: slots(),
    "idle": lambda _: idle(),
}
PARTS = tuple(WORK)
ENTRIES = 10_000_000


def run(parts: Sequence[str], entries: int) -> None:
    for name in parts:
        WORK[name](entries)
        say("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="how many entries the old journal has")
    given = parser.parse_args()
    run(given.parts, given.entries)


if __name__ == "__main__":
    main()
