"""A commit that was not confirmed by the standby, and whether it is taken for one that was.

PostgreSQL answers a COMMIT whose wait for the standby is cancelled with success and a warning; the row is then seen by
everybody, on one machine. A statement_timeout does not cancel it (it is switched off before the commit), a client's
cancel does. First both are shown on this cluster, and the row that is lost; then that Crossdock acknowledges nothing of
the kind, neither at first nor when the sender, who was refused, sends it again and it is there already: the primary's
links are frozen, everybody who waits is cancelled by an administrator, again and again, and then the primary is killed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from bench.ha.cluster import Cluster
from bench.ha.estate import Estate, lost, tills

FROZEN_SECONDS = 25.0  # longer than a transaction of Crossdock may take, twice
CANCEL_SECONDS = 2.0
PATIENCE_SECONDS = 4.0
IN_FLIGHT_SECONDS = 1.0  # what was confirmed before the freeze is answered within this
WORD_SECONDS_MAX = 60.0
UNCONFIRMED = "SELECT pg_logical_emit_message(false, 'crossdock', repeat('x', 1000000)) FROM generate_series(1, 20)"
"""WAL that the standby does not get. It must be promoted however far behind it is: it has what was acknowledged."""


@dataclass(frozen=True, slots=True)
class Bare:
    """`timed_out`: a statement_timeout ended the wait; `success`: the cancelled command succeeded; `warning`:
    what came with it; `seen`: the row was seen before the failover; `kept`: after it."""

    timed_out: bool
    success: bool
    warning: str
    seen: bool
    kept: bool

    def shown(self) -> str:
        return (
            f"while the standby is silent, a statement_timeout {'ends' if self.timed_out else 'does not end'} the wait;"
            f" a cancelled insert {'succeeds' if self.success else 'fails'} with the warning {self.warning!r};"
            f" the row is {'seen' if self.seen else 'not seen'} at once, and"
            f" {'kept' if self.kept else 'GONE'} after the failover"
        )


def bare(cluster: Cluster) -> Bare:
    """The trap itself, by psycopg."""
    url = cluster.conninfo("postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE trap (id text PRIMARY KEY)")
    warnings: list[str] = []
    success = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
        connection.execute("SET statement_timeout = '1s'")
        cluster.freeze_links()

        def insert() -> None:
            with suppress(psycopg.Error):
                connection.execute("INSERT INTO trap VALUES ('it')")
                success.append(True)

        thread = threading.Thread(target=insert)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        timed_out = not thread.is_alive()
        connection.cancel()
        thread.join()
        seen = connection.execute("SELECT 1 FROM trap").fetchone() is not None
    victim = cluster.kill_primary()
    cluster.wait_for_primary()
    with psycopg.connect(url, autocommit=True) as connection:
        kept = connection.execute("SELECT 1 FROM trap").fetchone() is not None
    cluster.revive(victim)
    cluster.wait_for_standbys()
    return Bare(timed_out, bool(success), "; ".join(warnings), seen, kept)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What senders were told while no standby confirmed, and what is lost after the failover."""

    acknowledged: int
    stood: int
    refused: str
    unhelpful: int
    lost: int
    backends: int
    cancelled: int
    again: bool

    @property
    def right(self) -> bool:
        return self.again and not self.acknowledged and not self.lost

    @property
    def told(self) -> bool:
        """Whether it could have gone wrong: orders stood on the primary whose senders had been refused."""
        return self.stood > 0 and self.cancelled > 0

    def shown(self) -> str:
        return (
            f"{FROZEN_SECONDS:.0f} s without a standby's word, {self.cancelled} waits cancelled:"
            f" {self.acknowledged} acknowledged, refused: {self.refused};"
            f" {self.unhelpful} without Retry-After;"
            f" {self.backends} sessions of Crossdock on the server in the end;"
            f" {self.stood} orders stood on the primary alone when it was killed;"
            f" {self.lost} acknowledged lost; then {'acknowledging again' if self.again else 'NOBODY is acknowledged'}"
        )


def cancel_all(one: Estate) -> int:
    """Cancels every session of Crossdock that waits for a standby; how many."""
    return len(
        one.stage.place.rows(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'crossdock_app' AND wait_event = 'SyncRep'"
        )
    )


def crossdock(cluster: Cluster, one: Estate) -> Frozen:
    """The same under Crossdock's load, whose tills insist on every order that was refused."""
    with tills(one) as word:
        word.heard(WORD_SECONDS_MAX)
        time.sleep(2)
        cluster.freeze_links()
        time.sleep(IN_FLIGHT_SECONDS)
        before, unhelpful = len(word.ids), word.unhelpful
        word.refused.clear()
        one.stage.place.rows(UNCONFIRMED)
        until, cancelled = time.monotonic() + FROZEN_SECONDS, 0
        while time.monotonic() < until:
            cancelled += cancel_all(one)
            time.sleep(CANCEL_SECONDS)
        during = len(word.ids) - before
        known = {row[0] for row in one.stage.place.rows("SELECT event_id FROM entries WHERE origin <> 'core'")}
        stood = len(known - word.ids)
        ((backends,),) = one.stage.place.rows("SELECT count(*) FROM pg_stat_activity WHERE usename = 'crossdock_app'")
        victim = cluster.kill_primary()
        cluster.wait_for_primary()
        again = word.heard(WORD_SECONDS_MAX)
        cluster.revive(victim)
        cluster.wait_for_standbys()
    return Frozen(during, stood, word.refusals(), word.unhelpful - unhelpful, lost(one), backends, cancelled, again)
