"""The far ends of a world. Each speaks HTTP/1.1, behaves as its mood says, and keeps what it has taken."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from crossdock.model.ids import EventId, Instant, StoreId
from crossdock.testing.world.loop import VirtualLoop
from crossdock.testing.world.manners import (
    HONEST,
    PERHAPS,
    TAKING,
    Manner,
    answer,
    results_of,
    spoken,
)
from crossdock.testing.world.network import Heard
from crossdock.testing.world.stage import SHARED_HOSTS, House, Site, core_host, hook_host

POISON = "poison"
"""An order or product of this name is one that a far end will never take."""


STUCK = "stuck"
"""And one of this name fails again and again, as long as the mood says so."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a request, as the far end reads it: whose, by which connection (None: the core's), and as canonical
    JSON all that came for it."""

    event_id: EventId
    store: StoreId
    site: Site | None
    data: bytes = field(repr=False)
    poisoned: bool
    stuck: bool = False


class Watcher(Protocol):
    """Who sees what far ends see. `told` hears of every answer that is not an honest one."""

    def written(self, receiver: Receiver, request: Heard, items: list[Item]) -> None: ...

    def took(self, receiver: Receiver, request: Heard, item: Item) -> None: ...

    def answered(self, receiver: Receiver, request: Heard, manner: Manner, wait_s: int) -> None: ...

    def misaddressed(self, receiver: Receiver, request: Heard, why: str) -> None: ...


@dataclass(slots=True)
class Mood:
    """`honesty`: the share of honest answers; the others are drawn from `manners`. `every`: where given, all but each
    so many-th are drawn from them. `welcome`: see network.Host."""

    honesty: float = 1.0
    manners: tuple[Manner, ...] = (Manner.BROKEN,)
    welcome: str = "yes"
    wait_s: tuple[int, int] = (1, 5)
    sticks: bool = False
    every: int = 0


class Receiver:
    """`identify` reads a request's events; None where the request is none of this far end's business."""

    def __init__(
        self,
        names: frozenset[str],
        kind: str,
        identify: Callable[[Heard], list[Item] | None],
        loop: VirtualLoop,
        dice: random.Random,
        watcher: Watcher,
    ) -> None:
        self.names = names
        self.kind = kind
        self.mood = Mood()
        self.calls = 0
        self._identify = identify
        self._loop = loop
        self._dice = dice
        self._watcher = watcher

    def __repr__(self) -> str:
        return f"{self.kind}:{min(self.names)}"

    def welcomes(self) -> str:
        return self.mood.welcome

    def items(self, request: Heard) -> list[Item]:
        return self._identify(request) or []

    def written(self, request: Heard) -> None:
        items = self._identify(request)
        if items is None:
            self._watcher.misaddressed(self, request, "nobody here knows what this is")
        else:
            self._watcher.written(self, request, items)

    def arrived(self, request: Heard) -> None:
        items = self._identify(request) or []
        self.calls += 1
        if request.method == "GET":
            request.line.deliver(answer(200, b"{}"))
            return
        manner = self._manner(items)
        wait_s = self._dice.randint(*self.mood.wait_s)
        taken = self._take(request, manner, items)
        body = self._body(manner, items, taken)
        self._watcher.answered(self, request, manner, wait_s)
        said = spoken(manner, body, Instant(self._true_ms()), wait_s)
        after = 0.0
        for pause, piece in said.pieces:
            after += pause
            if piece:
                request.line.deliver(piece, after)
        if said.end:
            request.line.hang_up(after, reset=said.end == "reset")

    def _true_ms(self) -> int:
        return 1_790_000_000_000 + int((self._loop.time() - 1_000.0) * 1_000)

    def _manner(self, items: list[Item]) -> Manner:
        if self.kind != "batch" and any(item.poisoned for item in items):
            return Manner.REJECTED
        if self.mood.sticks and any(item.stuck for item in items):
            return Manner.BROKEN
        if self.mood.every and self.calls % self.mood.every:
            return self._dice.choice(self.mood.manners)
        if self._dice.random() < self.mood.honesty:
            return self._dice.choice(HONEST)
        return self._dice.choice(self.mood.manners)

    def _take(self, request: Heard, manner: Manner, items: list[Item]) -> list[Item]:
        """What of it is taken, before anything is said."""
        takes = manner in TAKING or (manner in PERHAPS and self._dice.random() < 0.5)
        if self.kind != "batch" and manner is Manner.FALSE_OK:
            takes = True
        taken = [item for item in items if takes and not item.poisoned]
        if self.kind == "batch" and manner in TAKING and self.mood.honesty < 1:
            taken = [item for item in taken if self._dice.random() < 0.8]
        for item in taken:
            self._watcher.took(self, request, item)
        return taken

    def _body(self, manner: Manner, items: list[Item], taken: list[Item]) -> bytes:
        """Only a batch is answered with words: one status for each of its items, or for some of them."""
        if self.kind != "batch":
            return b""
        listed = [one for one in items if one in taken or one.poisoned or self._dice.random() < 0.7]
        statuses = [200 if one in taken else 422 if one.poisoned else 503 for one in listed]
        if manner is Manner.FALSE_OK:
            return b'{"results": "all is well"}' if self._dice.random() < 0.5 else b'{"results": []}'
        return results_of([one.event_id for one in listed], statuses)


Identify = Callable[[Heard], "list[Item] | None"]


def hook_of(site: Site, at: int, turn: int = 0) -> tuple[frozenset[str], Identify]:
    """A store's own endpoint."""
    return frozenset({hook_host(site.store, at, turn)}), lambda heard: _cloud_event(heard, site.store, site)


def core_of(house: House) -> tuple[frozenset[str], Identify]:
    return frozenset({core_host(house.store.id)}), lambda heard: _cloud_event(heard, house.store.id, None)


def shared_of(kind: str, sites: Mapping[str, Site]) -> tuple[frozenset[str], Identify]:
    """A provider's host for all stores; `sites` tells by the credential whose request it is."""
    read = _batch if kind == "batch" else _product
    return frozenset({SHARED_HOSTS[kind]}), lambda heard: read(heard, sites)


def _cloud_event(heard: Heard, store: StoreId, site: Site | None) -> list[Item] | None:
    event = _json(heard.body)
    if not isinstance(event, dict) or event.get("id") != heard.headers.get("webhook-id"):
        return None
    return [_item(str(event["id"]), store, site, event)]


def _product(heard: Heard, sites: Mapping[str, Site]) -> list[Item] | None:
    site = sites.get(heard.headers.get("authorization", "").removeprefix("Bearer "))
    if site is None:
        return None
    if heard.method == "GET":
        return []
    name, product = heard.headers.get("idempotency-key", ""), _json(heard.body)
    return [_item(name, site.store, site, product)] if name and isinstance(product, dict) else None


def _batch(heard: Heard, sites: Mapping[str, Site]) -> list[Item] | None:
    site = sites.get(heard.headers.get("x-api-key", ""))
    if site is None:
        return None
    if heard.method == "GET":
        return []
    whole = _json(heard.body)
    if not isinstance(whole, dict):
        return None
    return [_item(str(one["event_id"]), site.store, site, one) for one in whole["items"]]


def _item(name: str, store: StoreId, site: Site | None, data: object) -> Item:
    canonical = json.dumps(data, sort_keys=True).encode()
    return Item(EventId(name), store, site, canonical, POISON.encode() in canonical, STUCK.encode() in canonical)


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except ValueError:
        return None
    return found
