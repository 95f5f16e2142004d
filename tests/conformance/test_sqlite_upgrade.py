"""A database of an earlier release, taken up by this one, and the earlier one's statements on it afterwards."""

from __future__ import annotations

import apsw

from crossdock.engines.migrations import known
from crossdock.engines.sqlite.journal import append_all, moved_since
from crossdock.model.entry import Kept
from crossdock.model.ids import Position
from crossdock.testing.samples import NORTH, SOUTH, draft

PUT_HEAD = (
    "INSERT INTO journals (store_id, head) VALUES (?, ?) ON CONFLICT (store_id) DO UPDATE SET head = excluded.head"
)


def test_journals_of_the_first_release_go_on_where_they_stood() -> None:
    connection = apsw.Connection(":memory:")
    first, *later = [one.text for one in known("crossdock.engines.sqlite")]
    connection.execute(first)
    connection.execute(PUT_HEAD, (NORTH, 7))
    for script in later:
        connection.execute(script)
    assert append_all(connection, [draft("a")]) == [Kept(Position(8))]
    connection.execute(PUT_HEAD, (NORTH, 9))
    connection.execute(PUT_HEAD, (SOUTH, 1))
    assert append_all(connection, [draft("b"), draft("c", store=SOUTH)]) == [Kept(Position(10)), Kept(Position(2))]
    assert dict(moved_since(connection, 0).heads) == {NORTH: 10, SOUTH: 2}
