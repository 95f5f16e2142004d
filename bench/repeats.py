"""Promises 3 and 4: how often an event may arrive twice, and that the same id is kept once."""

from __future__ import annotations

import asyncio

from bench import load
from bench.crashes import CONCURRENT, settled
from bench.requests import signed_order
from bench.result import Result
from bench.stage import SECRET, STORE, connect, hook, order, placed, stage
from crossdock.demo.processes import get


def row_3(engine: str, events: int, saboteur: str) -> Result:
    """Duplicates are bounded, byte-identical and carry the same id: the receiver takes an event and then breaks the
    connection instead of answering, three times in ten."""
    with stage(engine, saboteur=saboteur, ack_loss=0.3) as one:
        hook(one)
        for first in range(0, events, 1_000):
            one.core.publish(STORE, [placed(number) for number in range(first, min(first + 1_000, events))])
        lanes = settled(one, 600)
        seen = get(one.receiver, "/")
    repeats = seen["count"] - seen["distinct"]
    waiting = sum(lane["waiting"] + lane["parked"] for lane in lanes)
    text = (
        f"{events:,} events, {seen['ack_losses']:,} answers lost, {repeats:,} repeats, "
        f"{seen['distinct']:,} distinct ids, {seen['differing']} with another body, {waiting} left"
    )
    holds = seen["distinct"] == events and repeats <= seen["ack_losses"] and not seen["differing"] and not waiting
    return Result(holds, text)


def row_4(engine: str, ids: int, saboteur: str) -> Result:
    """Inbound dedupe is atomic: 32 at once with the same id, half of them with another body. On PostgreSQL two
    processes take them in."""
    parts = {"ingest": "ingest", "ingest-2": "ingest", "api": "api"} if engine == "postgres" else None
    with stage(engine, saboteur=saboteur, **({"parts": parts} if parts else {})) as one:  # type: ignore[arg-type]
        till = connect(one, "orders.generic", {}, {"signing_secret": SECRET})
        ports = [one.ports[name] for name, role in one.parts.items() if role in {"all", "ingest"}]
        statuses: dict[int, int] = {}
        for number in range(ids):
            same, other = order(number), {**order(number), "status": "open"}
            burst = [same if turn % 2 == 0 else other for turn in range(CONCURRENT)]
            for tally in asyncio.run(at_once(ports, till, burst)):
                for status, count in tally.statuses.items():
                    statuses[status] = statuses.get(status, 0) + count
        ((rows, distinct),) = one.place.rows(
            "SELECT COUNT(*), COUNT(DISTINCT event_id) FROM entries WHERE origin <> 'core'"
        )
        ((flagged,),) = one.place.rows("SELECT COUNT(*) FROM conflicts")
    conflicts = statuses.get(409, 0)
    text = (
        f"{ids:,} ids x {CONCURRENT} at once to {len(ports)} process{'es' if len(ports) > 1 else ''}: "
        f"{rows:,} rows for {distinct:,} ids, {conflicts:,} conflicts answered 409, {flagged:,} recorded"
    )
    # Which body comes first differs from id to id: as many conflicts as there are bodies unlike it, 16 of 32.
    return Result(rows == distinct == ids and conflicts == flagged == ids * CONCURRENT // 2, text)


async def at_once(ports: list[int], connection: str, burst: list[dict[str, object]]) -> list[load.Tally]:
    """Each document by a connection of its own, in turn to each port."""
    shares = [burst[at :: len(ports)] for at in range(len(ports))]
    return await asyncio.gather(
        *(
            load.run(
                port, iter([signed_order(port, connection, one) for one in share]), connections=len(share), seconds=30
            )
            for port, share in zip(ports, shares, strict=True)
        )
    )
