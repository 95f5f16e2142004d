"""A store moves back and forth between cells while real processes take in and deliver, and its neighbour does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cells_world import Town, town_of

from flow import Publisher, received, settled
from postgres import Estate
from served import Installation, Receiver

MOVES = 4


class City:
    """One process that takes in, one that manages, and one that delivers for each cell."""

    def __init__(self, town: Town, directory: Path, receiver: Receiver, stack: ExitStack) -> None:
        self.town, self.receiver = town, receiver
        cells = ", ".join(f"{name}={house.app}" for name, house in town.cells.items())
        environment = {"PATH": "/usr/bin:/bin", "CROSSDOCK_CELLS": cells, "CROSSDOCK_DIRECTORY": town.directory.app}
        environment |= {"CROSSDOCK_LOOPBACK_ALLOW": receiver.address, "COLUMNS": "160", "NO_COLOR": "1"}
        self.desk = Installation(directory, receiver, {**environment, "CROSSDOCK_ROLE": "api"})
        made = self.desk.run("token", "create", "--role", "platform_admin", "--dir", str(directory))
        environment["CROSSDOCK_TOKEN"] = self.desk.environment["CROSSDOCK_TOKEN"] = made.stdout.strip()
        roles = [{"CROSSDOCK_ROLE": "ingest"}]
        roles += [{"CROSSDOCK_ROLE": "deliver", "CROSSDOCK_CELL": name} for name in town.cells]
        others = [Installation(directory, receiver, {**environment, **role}) for role in roles]
        for one in (self.desk, *others):
            one.start()
            stack.callback(one.stop)
        self.door = others[0]

    def store(self, name: str) -> str:
        token = self.desk.store(name)
        self.desk.webhook(name)
        return token

    def place(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.desk.json("store", "place", name)
        return found


@pytest.fixture
def city(postgres_estate: Estate, tmp_path: Path) -> Iterator[City]:
    receiver = Receiver()
    listening = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    listening.start()
    try:
        with town_of(postgres_estate, "a", "b") as town, ExitStack() as stack:
            yield City(town, tmp_path / "var", receiver, stack)
    finally:
        receiver.shutdown()
        receiver.server_close()
        listening.join()


def test_a_store_that_moves_loses_nothing_and_harms_nobody(city: City) -> None:
    tokens = {store: city.store(store) for store in ("north", "south")}
    assert {city.place(store)["cell"] for store in tokens} == {"a", "b"}
    publishers = [Publisher(store, token, [city.door.url]) for store, token in tokens.items()]
    threads = [threading.Thread(target=one.run) for one in publishers]
    for thread in threads:
        thread.start()
    try:
        city.receiver.wait_for(20)
        for number in range(1, MOVES + 1):
            to = "b" if city.place("north")["cell"] == "a" else "a"
            moved = city.desk.json("store", "move", "north", "--to", to, "--grace", "0.3")
            assert (moved["cell"], moved["epoch"]) == (to, number)
            city.receiver.wait_for(len(city.receiver.came) + 30)
            assert [one.failed for one in publishers] == [[], []]
    finally:
        for one in publishers:
            one.ended.set()
        for thread in threads:
            thread.join(30)
    north, south = publishers
    assert (north.failed, south.failed) == ([], [])
    assert south.waited == 0  # nobody told the other store's core to wait
    settled(city.receiver, publishers)
    for one in publishers:
        first = received(city.receiver, one.store)
        for sku, last in one.sent.items():
            assert first[sku] == sorted(first[sku]), (one.store, sku)
            assert first[sku][-1] == last
        lanes = city.desk.json("lane", "list", one.store)["items"]
        assert all(lane["closes"] for lane in lanes)
        assert {lane["accepted"] for lane in lanes} == {sum(one.sent.values())}
    everything_is_where_it_should_be(city.town)


def everything_is_where_it_should_be(town: Town) -> None:
    """The entries of both cells are the same as far as the one goes that the store has left."""
    heads = []
    for house in town.cells.values():
        with psycopg.connect(house.admin) as admin:
            rows = admin.execute(
                "SELECT position, event_id, md5(body) FROM crossdock.entries WHERE store_id = 'north' ORDER BY 1"
            ).fetchall()
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        heads.append(rows)
    short = min(len(rows) for rows in heads)
    assert short > 0
    assert heads[0][:short] == heads[1][:short]


def test_a_process_that_delivers_must_know_its_cell(city: City) -> None:
    unpinned = Installation(city.desk.directory, city.receiver, {**city.desk.environment, "CROSSDOCK_ROLE": "all"})
    refused = unpinned.run("serve", "--dir", str(city.desk.directory), "--port", "0", code=1)
    assert "CD7033" in refused.stderr
