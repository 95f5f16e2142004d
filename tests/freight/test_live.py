"""`crossdock db copy` as a person types it: stopped, and store by store while publishers and a receiver go on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossdock.engines.sqlite.database import open_reader
from flow import Publisher, received, settled
from postgres import House
from served import Installation, installed, product

STORES = ("north", "south")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path / "var") as made:
        yield made


@contextmanager
def successor(old: Installation, house: House, directory: Path) -> Iterator[Installation]:
    """A server on PostgreSQL with the same root key."""
    environment = dict(old.environment)
    environment |= {"CROSSDOCK_DATABASE": house.app, "CROSSDOCK_ROOT_KEY_FILE": str(old.directory / "root.key")}
    new = Installation(directory, old.receiver, environment)
    new.start()
    try:
        yield new
    finally:
        for client in new.clients:
            client.close()
        new.stop()


def test_a_stopped_installation_goes_on_in_postgresql(old: Installation, postgres_house: House, tmp_path: Path) -> None:
    token = old.store("north")
    old.webhook("north")
    old.receiver.status = 503
    with old.client(token) as client:
        client.publish("north", [product(f"sku-{number}", id=f"e{number}") for number in range(5)])
    old.receiver.wait_for(1)
    path = old.directory / "crossdock.db"
    refused = old.run("db", "copy", "--from", str(path), "--to", postgres_house.app, code=3)
    assert "CD5005" in refused.stderr
    assert "--live" in refused.stderr
    old.stop()
    done = old.run("db", "copy", "--from", f"sqlite:{path}", "--to", postgres_house.app)
    assert "2 of 2  the store north" in done.stderr
    assert "every one the same on both sides" in done.stdout
    assert postgres_house.app not in done.stdout + done.stderr
    again = old.json("db", "copy", "--from", str(path), "--to", postgres_house.app)
    assert [one["store"] for one in again["proved"]] == [None, "north"]
    old.receiver.status = 204
    before = len(old.receiver.came)
    with successor(old, postgres_house, tmp_path / "new") as new:
        assert lane_of(new, "north")["accepted"] == 5
        with new.client(token) as client:
            client.publish("north", [product("sku-9", id="e9")])
        old.receiver.wait_for(before + 6)
        assert new.json("doctor")["well"]
    ids = {headers["webhook-id"] for headers, _ in old.receiver.came[before:]}
    assert ids == {*(f"e{number}" for number in range(5)), "e9"}


def test_a_difference_ends_with_code_1_and_its_name(old: Installation, postgres_house: House) -> None:
    token = old.store("north")
    old.webhook("north")
    with old.client(token) as client:
        client.publish("north", [product("sku-1", id="e1")])
    old.receiver.wait_for(1)
    old.stop()
    path = str(old.directory / "crossdock.db")
    old.run("db", "copy", "--from", path, "--to", postgres_house.app)
    with psycopg.connect(postgres_house.admin) as admin:
        admin.execute("UPDATE crossdock.entries SET body = 'x'")
        admin.execute("UPDATE crossdock.journals SET gate = 'shut'")
    refused = old.run("db", "copy", "--from", path, "--to", postgres_house.app, code=1)
    assert "CD5025" in refused.stderr
    assert "in entries, at the row 1 differs body" in refused.stderr


def lane_of(at: Installation, store: str) -> dict[str, Any]:
    items = at.json("lane", "list", store)["items"]
    return next(one for one in items if one["route"] == "product-changed")


def test_store_by_store_while_it_runs_nothing_is_lost_or_reordered(
    old: Installation, postgres_house: House, tmp_path: Path
) -> None:
    tokens = {store: old.store(store) for store in STORES}
    for store in STORES:
        old.webhook(store)
    path = old.directory / "crossdock.db"

    def moved(store: str) -> bool:
        with psycopg.connect(postgres_house.admin) as admin:
            asked = "SELECT 1 FROM crossdock.journals WHERE store_id = %s AND gate = 'open'"
            return admin.execute(asked, [store]).fetchone() is not None

    with successor(old, postgres_house, tmp_path / "new") as new:
        publishers = [Publisher(store, tokens[store], [old.url, new.url], moved) for store in STORES]
        threads = [threading.Thread(target=one.run) for one in publishers]
        for thread in threads:
            thread.start()
        try:
            old.receiver.wait_for(100)
            copied = old.json("db", "copy", "--live", "--grace", "0.5", "--from", str(path), "--to", postgres_house.app)
            assert [one["store"] for one in copied["proved"]] == [None, *STORES]
            assert [one.failed for one in publishers] == [[], []]
            old.receiver.wait_for(len(old.receiver.came) + 100)
        finally:
            for one in publishers:
                one.ended.set()
            for thread in threads:
                thread.join(30)
        assert [one.failed for one in publishers] == [[], []]
        assert all(one.waited for one in publishers)
        settled(new.receiver, publishers)
        for one in publishers:
            first = received(old.receiver, one.store)
            for sku, last in one.sent.items():
                assert first[sku] == sorted(first[sku]), (one.store, sku)
                assert first[sku][-1] == last
            lane = lane_of(new, one.store)
            assert lane["closes"]
            assert lane["accepted"] == sum(one.sent.values())
            refused = old.run("store", "show", one.store, code=0)
            assert one.store in refused.stdout
        again = old.json("db", "copy", "--live", "--from", str(path), "--to", postgres_house.app)
        assert [one["store"] for one in again["proved"]] == [None, *STORES]


def test_given_up_the_store_is_open_where_it_was(old: Installation, postgres_house: House) -> None:
    token = old.store("north")
    old.webhook("north")
    with old.client(token) as client:
        client.publish("north", [product("sku-1", id="e1")])
        old.receiver.wait_for(1)
        path = str(old.directory / "crossdock.db")
        with psycopg.connect(postgres_house.admin) as admin:
            # Nothing can be written to lanes: the last round fails, after the gate was shut.
            admin.execute("ALTER TABLE crossdock.lanes ADD CONSTRAINT never CHECK (cursor < 0)")
        refused = old.run("db", "copy", "--live", "--grace", "0", "--from", path, "--to", postgres_house.app, code=1)
        assert "CD5026" in refused.stderr
        client.publish("north", [product("sku-1", 2, id="e2")])
        old.receiver.wait_for(2)
    log = open_reader(Path(path))
    details = log.execute("SELECT detail FROM audit WHERE action = 'store.gate_set' ORDER BY seq").fetchall()
    log.close()
    assert [json.loads(row[0])["gate"] for row in details] == ["closing", "shut", "open"]
