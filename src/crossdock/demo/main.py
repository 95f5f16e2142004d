"""`crossdock demo`: the main job with real parties, checked by what each of them received."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from crossdock.demo import show
from crossdock.demo.conductor import Outcome, Stage, Tell, lanes_of, play, raise_stage
from crossdock.demo.processes import DemoFailed, Processes, free_ports
from crossdock.demo.setup import Doors
from crossdock.demo.verdict import Sentence, verdict
from crossdock.demo.world import World, make
from crossdock.model.ids import Json, JsonObject

SEED = 20261122
PORT = 8400
WIDTH_IN_FILES = 120
LOOK_SECONDS = 2.0


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def figures(alone: Outcome, beside: Outcome) -> dict[str, Any]:
    """How long north's webhook deliveries took in both runs, and the ratio of their p99."""
    rows = {}
    for name, outcome in (("alone", alone), ("beside", beside)):
        delays = outcome.records["receiver"]["delays_ms"]
        rows[name] = {
            "events": len(delays),
            "p50_ms": statistics.median(delays or [0.0]),
            "p99_ms": percentile(delays, 0.99),
        }
    return {**rows, "ratio": rows["beside"]["p99_ms"] / max(rows["alone"]["p99_ms"], 1.0)}


def report(found: list[Sentence], lanes: list[dict[str, Any]], measured: dict[str, Any]) -> JsonObject:
    sentences: list[Json] = [{"what": one.what, "ok": one.ok, "seen": one.seen} for one in found]
    return {"ok": all(one.ok for one in found), "sentences": sentences, "ledger": list(lanes), "figures": measured}


def fresh(directory: Path) -> Path:
    """An empty folder for one run: the demonstration always starts from nothing."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    return directory


def rehearsal(directory: Path, world: World, tell: Tell) -> Outcome:
    """The same world without the receiver that is down: what north's figures are held against."""
    with Processes(directory) as processes:
        stage = raise_stage(processes, directory, free_ports(1)[0])
        return play(processes, stage, world, down=False, tell=tell)


def run(once: bool, as_json: bool, directory: Path | None) -> int:
    """0 only if every party received exactly what it should and every ledger closes; 1 otherwise, 3 if it could not
    be played. Without `once` it keeps serving until Ctrl-C."""
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES

    def tell(text: str) -> None:
        console.print(f"[dim]·[/dim] {text}")

    place = directory or Path(tempfile.mkdtemp(prefix="crossdock-demo-"))
    world = make(SEED)
    try:
        console.print("[bold]A run without the receiver that is down[/bold]")
        alone = rehearsal(fresh(place / "demo-alone"), world, tell)
        console.print("[bold]The run[/bold]")
        home = fresh(place / "demo")
        with Processes(home) as processes:
            stage = raise_stage(processes, home, free_ports(1)[0] if once else PORT)
            outcome = play(processes, stage, world, down=True, tell=tell)
            ok = finish(console, world, alone, outcome, as_json=as_json)
            if not once:
                keep_serving(console, stage, outcome.doors)
    except DemoFailed as failure:
        console.print(f"[bold red]The demonstration could not be played.[/bold red] {failure}", markup=True)
        return 3
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)
    return 0 if ok else 1


def finish(console: Console, world: World, alone: Outcome, outcome: Outcome, *, as_json: bool) -> bool:
    found = verdict(world, outcome.records, outcome.lanes)
    measured = figures(alone, outcome)
    document = report(found, outcome.lanes, measured)
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return bool(document["ok"])
    console.print()
    console.print(show.ledger(outcome.lanes))
    show.sentences(console, found)
    show.beside(console, measured)
    right = sum(one.ok for one in found)
    console.print(f"\n{right} of {len(found)} hold.\n")
    return bool(document["ok"])


def keep_serving(console: Console, stage: Stage, doors: Doors) -> None:
    """Until Ctrl-C or SIGTERM, with the ledger as it stands; then the block that started the processes ends them,
    Crossdock draining first."""
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    console.print(f"Serving on {stage.url}   API docs {stage.url}/docs   metrics {stage.url}/metrics")
    console.print(f"Data in {stage.directory}, an administrator's token in {stage.directory / 'admin.token'}.")
    console.print("Ctrl-C drains and ends.\n")
    if console.is_terminal:
        with Live(show.ledger(lanes_of(stage.client, doors)), console=console, auto_refresh=False) as live:
            while not stop.wait(LOOK_SECONDS):
                live.update(show.ledger(lanes_of(stage.client, doors)), refresh=True)
    stop.wait()
    console.print("Draining.")
