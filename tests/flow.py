"""Publishers of stores that are on the move, and what a receiver got of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from crossdock.client import Crossdock
from crossdock.client.problems import Unavailable
from served import Receiver, product

SKUS = 4


@dataclass
class Publisher:
    """A store's core: publishes until it is told to stop. When it is told to wait, it looks whether the operator has
    pointed it at the new address."""

    store: str
    token: str
    urls: list[str]
    moved: Callable[[str], bool] = lambda _: False
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    waited: int = 0
    failed: list[BaseException] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        clients = [Crossdock(url, self.token, within_seconds=3) for url in self.urls]
        try:
            at = 0
            while not self.ended.is_set():
                sku = f"sku-{sum(self.sent.values()) % SKUS}"
                revision = self.sent[sku] + 1
                event = product(sku, revision, id=f"{self.store}-{sku}-{revision}")
                while not self._publish(clients[at], event):
                    at = int(self.moved(self.store))
                self.sent[sku] = revision
        except BaseException as error:  # noqa: BLE001  # it is raised in the test's own thread
            self.failed.append(error)
        finally:
            for client in clients:
                client.close()

    def _publish(self, client: Crossdock, event: dict[str, object]) -> bool:
        try:
            client.publish(self.store, [event])
        except Unavailable as error:
            if error.code != "CD5024":
                raise
            self.waited += 1
            return False
        return True


def received(receiver: Receiver, store: str) -> dict[str, list[int]]:
    """The revisions of each SKU of a store, in the order in which they were first received."""
    first: dict[str, list[int]] = defaultdict(list)
    with receiver.news:
        for headers, _ in receiver.came:
            place, sku, revision = split(headers["webhook-id"])
            if place == store and revision not in first[sku]:
                first[sku].append(revision)
    return first


def split(id: str) -> tuple[str, str, int]:
    rest, _, revision = id.rpartition("-")
    store, _, sku = rest.partition("-")
    return store, sku, int(revision)


def settled(receiver: Receiver, publishers: list[Publisher]) -> None:
    """Waits until every lane has nothing left to send."""
    for one in publishers:
        last = {f"{one.store}-{sku}-{revision}" for sku, revision in one.sent.items()}

        def all_came(last: set[str] = last) -> bool:
            return last <= {headers["webhook-id"] for headers, _ in receiver.came}

        with receiver.news:
            assert receiver.news.wait_for(all_came, 30)
