"""A load without Crossdock: what PostgreSQL under Patroni alone keeps of what it acknowledged."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from bench.ha.cluster import Cluster
from bench.ha.word import Word

WRITERS = 8


def write(url: str, word: Word) -> None:
    """Inserts one id after the other, each in its own transaction, and connects again whenever it is cut off. A commit
    that comes with a warning is none: it stands on one machine alone."""
    while not word.done:
        with suppress(psycopg.Error), psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            warnings: list[str] = []
            connection.add_notice_handler(lambda notice, heard=warnings: heard.append(str(notice.message_primary)))
            while not word.done:
                one = uuid.uuid4().hex
                connection.execute("INSERT INTO words VALUES (%s)", [one])
                if warnings:
                    word.not_acknowledged(warnings.pop())
                else:
                    word.acknowledged(one)
        word.not_acknowledged("cut off")


def lost(cluster: Cluster, word: Word) -> int:
    with psycopg.connect(cluster.conninfo("postgres"), autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT id FROM words").fetchall()}
    return len(word.ids - there)


@contextmanager
def writers(cluster: Cluster) -> Iterator[Word]:
    with psycopg.connect(cluster.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE words (id text PRIMARY KEY)")
    word = Word()
    threads = [threading.Thread(target=write, args=(cluster.conninfo("postgres"), word)) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield word
    finally:
        word.done = True
        for thread in threads:
            thread.join()
