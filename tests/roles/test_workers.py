from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from journeys.floor import SECRET, product, receiving, until
from postgres import House
from roles.yard import Post, Publishers, Yard, lives, yard_in


@pytest.fixture
def yard(postgres_house: House, tmp_path: Path) -> Iterator[Yard]:
    with receiving() as receiver, yard_in(tmp_path, postgres_house.app, loopback_allow=receiver.address) as made:
        made.receiver = receiver  # type: ignore[attr-defined]
        yield made


def owners(house: House) -> int:
    with psycopg.connect(house.admin) as connection:
        row = connection.execute("SELECT count(DISTINCT owner) FROM crossdock.slots").fetchone()
        assert row is not None
        return int(row[0])


def test_a_worker_that_is_killed_is_replaced_while_the_others_serve(yard: Yard, postgres_house: House) -> None:
    post = yard.post(workers=2)
    post.store("north")
    before = post.workers()
    assert sorted(before) == [1, 2]
    until(lambda: len(post.lines("process.started")) == 2)
    os.kill(before[1], signal.SIGKILL)

    def replaced() -> bool:
        # The port is shared: whatever connects now is taken by a worker that lives.
        assert post.publish("north", product("A")).status == 202
        return post.workers().get(1, before[1]) != before[1]

    until(replaced)
    assert post.workers()[2] == before[2]
    (died,) = until(lambda: post.lines("worker.died"))
    assert (died["worker"], died["pid"], died["status"]) == ("1", str(before[1]), "-9")
    until(lambda: len(post.lines("process.started")) == 3)
    until(lambda: owners(postgres_house) >= 2, "the new worker's slots")


def test_no_worker_outlives_its_supervisor(yard: Yard) -> None:
    post = yard.post(workers=2)
    workers = post.workers()
    assert len(workers) == 2
    post.end(kill=True)
    until(lambda: not any(lives(pid) for pid in workers.values()), "the end of the workers")
    assert [one["clean"] for one in post.lines("process.stopped")] == ["true", "true"]


def test_each_worker_says_whose_figures_it_shows(yard: Yard) -> None:
    post = yard.post(workers=2)
    text = post.house.call("GET", "/metrics").raw.decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert len({worker for worker in ("1", "2") if all(f'worker="{worker}"' in line for line in samples)}) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_load_loses_nothing_that_was_acknowledged(yard: Yard, postgres_house: House, workers: int) -> None:
    stop_under_load(yard, workers, lambda: owners(postgres_house) == 0)


def test_a_stop_under_load_loses_nothing_on_a_file(tmp_path: Path) -> None:
    with receiving() as receiver, yard_in(tmp_path, loopback_allow=receiver.address) as yard:
        yard.receiver = receiver  # type: ignore[attr-defined]
        stop_under_load(yard, 1, lambda: True)


def stop_under_load(yard: Yard, workers: int, slots_are_free: Callable[[], bool]) -> None:
    receiver = yard.receiver  # type: ignore[attr-defined]
    post = yard.post(workers=workers)
    post.store("north")
    hook = {"url": f"http://{receiver.address}/hook"}
    post.connect("north", "webhook.custom", hook, signing_secret=SECRET)
    post.core("north")
    publishers = Publishers(post, "north", threads=4)
    publishers.wait_for(100)
    receiver.wait_for(20)
    post.end()
    acknowledged = publishers.join()
    assert post.status() == 0
    stopped = post.lines("process.stopped")
    assert [one["clean"] for one in stopped] == ["true"] * workers
    assert not post.lines("delivery.stale")
    assert slots_are_free()

    again = yard.post(workers=workers)
    again.at_rest("north")
    came = [one.event["id"] for one in receiver.came]
    assert set(acknowledged) <= set(came)
    # What was sent was settled before the end: nothing is sent twice over a stop.
    assert len(came) == len(set(came))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_turn_that_takes_too_long_to_drain_is_cut_and_repeated(
    yard: Yard, postgres_house: House, workers: int
) -> None:
    receiver = yard.receiver  # type: ignore[attr-defined]
    post = yard.post(workers=workers, drain_seconds="1")
    post.store("north")
    hook = {"url": f"http://{receiver.address}/hook"}
    post.connect("north", "webhook.custom", hook, signing_secret=SECRET)
    receiver.hold.clear()
    assert post.publish("north", product("A")).status == 202
    receiver.wait_for(1)
    post.end()
    assert not receiver.hold.is_set()
    assert post.status() == 0
    assert owners(postgres_house) == 0
    receiver.hold.set()

    again = yard.post(workers=workers)
    first, second = receiver.wait_for(2)
    assert (first.event["id"], first.raw) == (second.event["id"], second.raw)
    assert sum(one["delivered"] for one in again.at_rest("north")) == 1


def test_a_pull_that_waits_is_answered_when_the_process_stops(yard: Yard) -> None:
    post = yard.post()
    post.store("north")
    line = HTTPConnection("127.0.0.1", post.house.port, timeout=60)
    headers = {"authorization": f"Bearer {post.core('north')}"}
    line.request("GET", "/v1/stores/north/inbox?wait_seconds=30", headers=headers)
    post.house.ok("GET", "/healthz")  # it came after the pull, and has been answered: the pull is in
    post.end()
    answer = line.getresponse()
    assert (answer.status, json.loads(answer.read())["items"]) == (200, [])
    line.close()
    assert post.status() == 0


def test_a_start_that_fails_ends_with_its_reason(tmp_path: Path) -> None:
    nobody = "postgresql://app:canary-5d1@127.0.0.1:1/none"
    with yard_in(tmp_path, nobody) as yard:
        done = Post(tmp_path, yard.environment, shared=tmp_path / "var").run("serve", "--port", "0", "--workers", "2")
    assert done.returncode == 3
    assert "CD5002" in done.stderr
    assert "canary-5d1" not in done.stdout + done.stderr
