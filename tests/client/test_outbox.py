"""The outbox on real databases: SQLite through sqlite3, PostgreSQL through psycopg."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from far_end import TOKEN, FarEnd, served

from crossdock.client import Crossdock, InvalidEvent, Receipt
from crossdock.client.outbox import Backlog, Outbox, OutboxError, Relayed, create_table_sql, dialect_of

Connect = Callable[[], Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    if request.param == "sqlite":
        return lambda: sqlite3.connect(tmp_path / "shop.db", timeout=10)
    conninfo = request.getfixturevalue("postgres")
    return lambda: psycopg.connect(conninfo)


@pytest.fixture
def outbox(connect: Connect) -> Outbox:
    made = Outbox(connect)
    made.create_table()
    return made


@pytest.fixture
def shop(connect: Connect, outbox: Outbox) -> Iterator[Any]:
    """The application's own connection, with a table of sales."""
    connection = connect()
    connection.cursor().execute("CREATE TABLE sale (number INTEGER PRIMARY KEY)")
    connection.commit()
    yield connection
    connection.close()


@pytest.fixture
def client(far_end: FarEnd) -> Iterator[Crossdock]:
    with Crossdock(far_end.url, TOKEN) as made:
        yield made


def sell(shop: Any, outbox: Outbox, number: int, *, kind: str = "order.placed", store: str = "sofia") -> str:
    shop.cursor().execute(f"INSERT INTO sale VALUES ({number})")
    return outbox.add(shop, store, {"type": kind, "data": {"number": number}})


def sales(shop: Any) -> int:
    cursor = shop.cursor()
    cursor.execute("SELECT COUNT(*) FROM sale")
    return int(cursor.fetchone()[0])


def test_a_sale_that_is_rolled_back_leaves_no_event(shop: Any, outbox: Outbox) -> None:
    sell(shop, outbox, 1)
    shop.rollback()
    assert (sales(shop), outbox.backlog()) == (0, Backlog(0, 0))


def test_a_sale_that_is_committed_leaves_one_event(shop: Any, outbox: Outbox) -> None:
    sell(shop, outbox, 1)
    shop.commit()
    assert (sales(shop), outbox.backlog()) == (1, Backlog(1, 0))


def test_a_sale_works_while_crossdock_is_down(shop: Any, outbox: Outbox) -> None:
    with served() as gone:
        url = gone.url
    sell(shop, outbox, 1)
    shop.commit()
    with Crossdock(url, TOKEN, within_seconds=0.1) as client:
        done = Outbox(outbox._connect, lease_seconds=1).relay(client)
    assert done.published == 0
    assert "CD7020" in done.waiting_for
    sell(shop, outbox, 2)
    shop.commit()
    assert outbox.backlog() == Backlog(2, 0)


def test_events_arrive_in_the_order_of_the_sales_and_leave_the_table(
    shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd
) -> None:
    ids = [sell(shop, outbox, number) for number in range(25)]
    shop.commit()
    assert [outbox.relay(client, events_max=10).published for _ in range(4)] == [10, 10, 5, 0]
    assert far_end.order == ids
    assert outbox.backlog() == Backlog(0, 0)


def test_a_relay_that_fails_releases_its_claim_at_once(
    shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd
) -> None:
    sell(shop, outbox, 1)
    shop.commit()
    far_end.answers = [(401, {}, {"code": "CD3020", "title": "Who are you?"})]
    assert outbox.relay(client).waiting_for.startswith("CD3020")
    assert outbox.relay(client).published == 1


class Killed(BaseException):
    """The process dies here."""


class DiesAfterPublishing:
    def __init__(self, client: Crossdock) -> None:
        self.client = client

    def publish(self, store: str, events: Any, *, within_seconds: float | None = None) -> list[Receipt]:
        del within_seconds  # half of a lease of 0 seconds would be no time at all
        self.client.publish(store, events)
        raise Killed


def test_a_relay_killed_after_publishing_repeats_with_the_same_id(
    shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd
) -> None:
    name = sell(shop, outbox, 1)
    shop.commit()
    with pytest.raises(Killed):
        outbox.relay(DiesAfterPublishing(client), name="relay-1")
    assert outbox.backlog().waiting == 1
    assert outbox.relay(client, name="another").published == 0, "the claim of the dead relay still holds"
    assert outbox.relay(client, name="relay-1").published == 1
    assert far_end.seen_ids == [name, name]
    assert list(far_end.kept) == [name]


def test_the_claim_of_a_dead_relay_ends(shop: Any, connect: Connect, client: Crossdock, far_end: FarEnd) -> None:
    short = Outbox(connect, lease_seconds=0)
    sell(shop, short, 1)
    shop.commit()
    with pytest.raises(Killed):
        short.relay(DiesAfterPublishing(client))
    assert Outbox(connect).relay(client).published == 1
    assert len(far_end.kept) == 1


def test_a_refused_event_is_set_aside_and_the_others_go_on(
    shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd
) -> None:
    far_end.refuse_types = {"odd.one"}
    ids = [sell(shop, outbox, number, kind="odd.one" if number == 2 else "order.placed") for number in range(5)]
    shop.commit()
    assert outbox.relay(client) == Relayed(published=4, set_aside=1)
    assert far_end.order == [ids[0], ids[1], ids[3], ids[4]]
    assert outbox.backlog() == Backlog(0, 1)
    (aside,) = outbox.set_aside()
    assert (aside.event_id, aside.store, aside.code) == (ids[2], "sofia", "CD1022")
    assert "/data" in aside.why

    far_end.refuse_types = set()
    outbox.put_back()
    assert outbox.relay(client).published == 1
    assert ids[2] in far_end.kept


def test_each_store_is_published_to_on_its_own(shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd) -> None:
    for number in range(4):
        sell(shop, outbox, number, store=("sofia", "varna")[number % 2])
    shop.commit()
    assert outbox.relay(client).published == 4
    assert {path for _, path in far_end.requests} == {"/v1/stores/sofia/events", "/v1/stores/varna/events"}


def test_several_relays_share_the_work_and_publish_each_event_once(
    shop: Any, connect: Connect, outbox: Outbox, far_end: FarEnd
) -> None:
    ids = [sell(shop, outbox, number) for number in range(60)]
    shop.commit()
    start = threading.Barrier(3)

    def work() -> None:
        with Crossdock(far_end.url, TOKEN) as mine:
            start.wait()
            while outbox.relay(mine, events_max=5).published:
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(far_end.seen_ids) == sorted(ids)
    assert outbox.backlog() == Backlog(0, 0)


class Selling:
    """A sale happens while the relay waits for the network."""

    def __init__(self, sale: Callable[[], Any]) -> None:
        self.sale = sale

    def publish(self, store: str, events: Any, *, within_seconds: float | None = None) -> list[Receipt]:
        self.sale()
        return []


def test_a_sale_does_not_wait_while_a_relay_waits_for_the_network(shop: Any, outbox: Outbox, connect: Connect) -> None:
    sell(shop, outbox, 1)
    shop.commit()

    def sale() -> None:
        sell(shop, outbox, 2)
        shop.commit()

    assert outbox.relay(Selling(sale)).published == 1
    assert (sales(shop), outbox.backlog()) == (2, Backlog(1, 0))


def test_a_relay_runs_until_it_is_stopped(shop: Any, outbox: Outbox, client: Crossdock, far_end: FarEnd) -> None:
    ids = [sell(shop, outbox, number) for number in range(3)]
    shop.commit()
    rests: list[float] = []
    outbox.run(client, stop=lambda: bool(rests), sleep=rests.append, idle_seconds=0.25)
    assert far_end.order == ids
    assert rests == [0.25]


def test_what_cannot_be_sent_never_enters_the_table(shop: Any, outbox: Outbox) -> None:
    with pytest.raises(InvalidEvent):
        outbox.add(shop, "sofia", {"data": {}})
    shop.commit()
    assert outbox.backlog().waiting == 0


def test_a_connection_that_commits_by_itself_is_refused(tmp_path: Path, postgres: str) -> None:
    for connection in (
        sqlite3.connect(tmp_path / "x.db", isolation_level=None),
        psycopg.connect(postgres, autocommit=True),
    ):
        with pytest.raises(OutboxError, match="CD7023"):
            Outbox(lambda: None).add(connection, "sofia", {"type": "order.placed"})
        connection.close()


def test_an_explicit_transaction_is_enough(postgres: str) -> None:
    outbox = Outbox(lambda: psycopg.connect(postgres))
    outbox.create_table()
    with psycopg.connect(postgres, autocommit=True) as connection, connection.transaction():
        outbox.add(connection, "sofia", {"type": "order.placed"})
    assert outbox.backlog().waiting == 1


def test_the_table_is_published_for_migrations() -> None:
    for dialect in ("sqlite", "postgresql"):
        assert create_table_sql(dialect).startswith("CREATE TABLE IF NOT EXISTS crossdock_outbox")  # type: ignore[arg-type]


def test_an_unknown_driver_must_say_its_dialect() -> None:
    with pytest.raises(OutboxError, match="CD7023"):
        dialect_of(object())


RELAY = """
import os, sqlite3, sys
from crossdock.client import Crossdock
from crossdock.client.outbox import Outbox

class Dies:
    def __init__(self, client): self.client = client
    def publish(self, store, events, *, within_seconds=None):
        self.client.publish(store, events)
        os.kill(os.getpid(), 9)

Outbox(lambda: sqlite3.connect(sys.argv[1])).relay(Dies(Crossdock(sys.argv[2], sys.argv[3])), name="relay-1")
"""


def test_a_relay_process_killed_with_signal_9_only_repeats(tmp_path: Path, far_end: FarEnd) -> None:
    def open_database() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "shop.db")

    outbox = Outbox(open_database)
    outbox.create_table()
    connection = open_database()
    name = outbox.add(connection, "sofia", {"type": "order.placed", "data": {}})
    connection.commit()
    connection.close()
    arguments = [str(tmp_path / "shop.db"), far_end.url, TOKEN]
    died = subprocess.run([sys.executable, "-c", RELAY, *arguments], check=False)
    assert died.returncode == -9
    with Crossdock(far_end.url, TOKEN) as client:
        assert outbox.relay(client, name="relay-1").published == 1
    assert far_end.seen_ids == [name, name]
    assert list(far_end.kept) == [name]
