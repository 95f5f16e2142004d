"""`make promises`: rows of the promises on both engines, each with the planted fault that must turn it red; and those
that simulated worlds keep, on the in-memory engine.

Options: `--engine sqlite,postgres,world --rows 1,2,3,4,5,6,7,17,19,20,22`, and how much of each: `--kills N --events N
--ids N --asks N --seconds N`, on the simulated disk of SQLite (power cuts, and errors of syncs) `--cuts N --runs N`,
in worlds `--seeds N --outages N --keys N --events-of-an-hour N --jumps N --twice N`. The defaults are the published
counts; each victim is killed so many times."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from bench.crashes import row_1, row_2
from bench.cuts import row_1_cuts, row_19
from bench.neighbours import row_7
from bench.repeats import row_3, row_4
from bench.result import Result
from bench.stage import say
from bench.walls import row_6
from bench.worlds import row_2_worlds, row_5, row_17, row_20, row_22
from crossdock.demo.processes import DemoFailed

Row = tuple[int, str, Callable[[str, int, str], Result], str, str]
ROWS: tuple[Row, ...] = (
    (1, "2xx means durable", row_1, "kills", "ack-before-commit"),
    (2, "nothing vanishes: every ledger closes", row_2, "kills", "forget-on-second-try"),
    (3, "duplicates are bounded, byte-identical and carry the same id", row_3, "events", "new-id-per-attempt"),
    (4, "inbound dedupe is atomic", row_4, "ids", "select-then-insert"),
    (6, "no store can observe another", row_6, "asks", "one-store-for-all"),
    (7, "a bad neighbour costs little", row_7, "seconds", "one-pool"),
)
ON_THE_SIMULATED_DISK: tuple[Row, ...] = (
    (1, "2xx means durable, also when the power is cut", row_1_cuts, "cuts", "synchronous=NORMAL, ack-before-commit"),
    (19, "an error of the disk is an honest refusal", row_19, "runs", "swallow-EIO, go-on-after-EIO"),
)
WORLDS: tuple[Row, ...] = (
    (2, "nothing vanishes, after each step of a simulated world", row_2_worlds, "seeds", "drop-on-4th-retry"),
    (5, "order per key, and a stuck key blocks only itself", row_5, "keys", "global-queue"),
    (17, "we do not attack receivers", row_17, "events_of_an_hour", "no-budget"),
    (20, "clocks may lie", row_20, "jumps", "wall-clock-timers"),
    (22, "same seed, same run", row_22, "twice", "uuid4-in-core"),
)
WORLDS_ON_DISK: tuple[Row, ...] = (
    (2, "nothing vanishes, in worlds that lose their power", row_2_worlds, "outages", "synchronous=NORMAL"),
    (22, "same seed, same run, on the simulated disk", row_22, "twice", "uuid4-in-core"),
)
ROWS_OF = {"sqlite": ROWS + ON_THE_SIMULATED_DISK + WORLDS_ON_DISK, "postgres": ROWS, "world": WORLDS}
SABOTAGED = {
    "kills": 20,
    "events": 250,
    "ids": 15,
    "asks": 2_000,
    "seconds": 15,
    "cuts": 400,
    "runs": 4,
    "seeds": 400,
    "keys": 300,
    "outages": 100,
    "events_of_an_hour": 20_000,
    "jumps": 50,
    "twice": 20,
}
"""How much of a row is enough to see its planted fault."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="sqlite,postgres,world")
    parser.add_argument("--rows", default="1,2,3,4,5,6,7,17,19,20,22")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--ids", type=int, default=300)
    parser.add_argument("--asks", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--cuts", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=25_000, help="worlds of row 2")
    parser.add_argument("--outages", type=int, default=5_000, help="worlds of row 2 on the simulated disk")
    parser.add_argument("--keys", type=int, default=1_000, help="keys of row 5")
    parser.add_argument("--events-of-an-hour", type=int, default=20_000, help="of row 17: most wait at its end")
    parser.add_argument("--jumps", type=int, default=2_000, help="worlds of row 20")
    parser.add_argument("--twice", type=int, default=500, help="worlds of row 22, each played twice")
    return parser.parse_args()


def attempted(row: Row, engine: str, count: int, saboteur: str) -> Result:
    try:
        return row[2](engine, count, saboteur)
    except DemoFailed as failure:
        return Result(False, str(failure)[:400])


def kept(row: Row, engine: str, count: int) -> bool:
    """Plays a row without and with its fault. Whether it holds, and the fault was caught."""
    number, promise, _, unit, saboteur = row
    say(f"{number}. {promise} ({engine})")
    started = time.monotonic()
    result = attempted(row, engine, count, "")
    say(f"   {'holds ' if result.holds else 'BROKEN'}  {result.seen}")
    caught = attempted(row, engine, min(count, SABOTAGED[unit]), saboteur)
    say(f"   saboteur {saboteur}: {'turned it red' if not caught.holds else 'STAYED GREEN'}  {caught.seen}")
    say(f"   {time.monotonic() - started:.0f} s\n")
    return result.holds and not caught.holds


def main() -> int:
    given = options()
    wanted = {int(number) for number in given.rows.split(",")}
    rows = [(engine, row) for engine in given.engine.split(",") for row in ROWS_OF[engine] if row[0] in wanted]
    right = [kept(row, engine, getattr(given, row[3])) for engine, row in rows]
    say("Every promise holds and every saboteur was caught." if all(right) else "NOT every promise holds.")
    return 0 if all(right) else 1


if __name__ == "__main__":
    raise SystemExit(main())
