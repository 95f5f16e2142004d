"""The engine as one process of the world meets it: calls take time, may be the last thing the process does, and are
seen by the world's books. What lies behind is a real engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from crossdock.journal.port import Journal, Lanes
from crossdock.journal.slots import Standing
from crossdock.model.attempt import Answer
from crossdock.model.entry import Appended, Draft, Kept
from crossdock.model.ids import LaneId, Position, StoreId
from crossdock.model.lane import LaneChange
from crossdock.stores.port import Change, Engine, Finding, Registry
from crossdock.testing.world.asked import Asked
from crossdock.testing.world.loop import Unreal

T = TypeVar("T")


class Witness(Protocol):
    """Who sees every commit. Each call comes right after the commit, before the process hears of it. `asked` is what
    has been asked for and not answered, for an engine that ends with its process."""

    asked: list[Asked]

    def rotten(self, draft: Draft) -> None:
        """What is kept of it cannot be opened."""
        ...

    async def appended(self, process: Any, drafts: Sequence[Draft], answers: Sequence[Appended]) -> None: ...

    async def settled(self, process: Any, change: LaneChange, counted: bool) -> None: ...

    async def committed(self, process: Any, change: Change) -> None: ...

    def beaten(self, process: Any, standing: Standing) -> None: ...

    def claimed(self, process: Any, slots: Mapping[int, int]) -> None: ...

    # And every call of a driver, before and after.

    def sending(self, process: Any, lane: LaneId, positions: Sequence[Position]) -> None: ...

    def sent(self, process: Any, lane: LaneId, answers: Sequence[tuple[Position, Answer]]) -> None: ...


class Host(Protocol):
    """The process that calls. `burns` says that this very step is one at which it freezes or dies."""

    dead: bool

    def burns(self) -> bool: ...


@dataclass(slots=True)
class Disk:
    """How the engine's storage is. `slow_share` of the calls take time, each way."""

    dice: random.Random
    slow_share: float = 0.3
    slow_ms: tuple[int, int] = (0, 4)
    rots_share: float = 0.0  # of the bodies, that cannot be opened any more
    erased: set[tuple[StoreId, bytes]] = field(default_factory=set)

    def kept(self, draft: Draft) -> Draft:
        """What will be read of it."""
        if self.rots_share and self.dice.random() < self.rots_share:
            return replace(draft, body=draft.body[:-1] + bytes([draft.body[-1] ^ 1]))
        return draft

    async def passes(self, share: float = 1.0) -> None:
        if self.dice.random() < self.slow_share * share:
            low, high = self.slow_ms
            await asyncio.sleep(self.dice.randint(low, high) / 1_000)


class SharedEngine:
    """`stores.port.Engine` for one process. `opened`: what follows the start of an engine that is the process's own;
    without it the engine runs already, and others go on with it."""

    def __init__(
        self,
        inner: Engine,
        host: Host,
        disk: Disk,
        witness: Witness,
        opened: Callable[[Engine], Awaitable[None]] | None = None,
    ) -> None:
        self.name = inner.name
        self.hints: list[Callable[[frozenset[StoreId]], None]] = []
        self.changes: list[Callable[[Change], None]] = []
        self._inner = inner
        self._opened = opened
        way = _Way(host, disk) if opened is None else _OwnWay(host, disk, witness)
        self._journal: Any = _Journal(lambda: inner.journal, way, witness, self.hints)
        self._lanes: Any = _Lanes(lambda: inner.lanes, way, witness)
        self._registry: Any = _Registry(lambda: inner.registry, way, witness, self.changes)
        self._slots = _Slots(inner, way, witness)

    @property
    def journal(self) -> Journal:
        journal: Journal = self._journal
        return journal

    @property
    def lanes(self) -> Lanes:
        lanes: Lanes = self._lanes
        return lanes

    @property
    def registry(self) -> Registry:
        registry: Registry = self._registry
        return registry

    @property
    def slots(self) -> _Slots:
        return self._slots

    async def start(self) -> None:
        if self._opened is not None:
            await self._inner.start()
            await self._opened(self._inner)

    async def close(self) -> None:
        if self._opened is not None:
            await self._inner.close()

    async def writable(self) -> None:
        await self._inner.writable()

    async def findings(self) -> Sequence[Finding]:
        return await self._inner.findings()


class _Way:
    """A call's way to the engine and back."""

    def __init__(self, host: Host, disk: Disk) -> None:
        self.host = host
        self.disk = disk

    async def read(self, call: Callable[..., Awaitable[T]], *given: Any) -> T:
        self._alive()
        await self.disk.passes(0.3)
        found = await call(*given)
        await self.disk.passes(0.3)
        return found

    async def write(
        self, call: Callable[..., Awaitable[T]], seen: Callable[[T], Awaitable[None] | None], *given: Any
    ) -> T:
        self._alive()
        await self.disk.passes()
        await self._step()
        done = await self._commit(call, seen, given)
        await self._step()
        await self.disk.passes()
        return done

    async def _commit(
        self, call: Callable[..., Awaitable[T]], seen: Callable[[T], Awaitable[None] | None], given: Sequence[Any]
    ) -> T:
        done = await call(*given)
        told = seen(done)
        if told is not None:
            await told
        return done

    def _alive(self) -> None:
        if self.host.dead:
            raise Unreal("A dead process has called the engine.")

    async def _step(self) -> None:
        """Here a process may die or freeze: before the commit, or after it and before it hears of it."""
        if self.host.burns():
            await asyncio.sleep(0)


class _OwnWay(_Way):
    """To an engine that ends with the process. What is asked for and not answered may be there all the same."""

    def __init__(self, host: Host, disk: Disk, witness: Witness) -> None:
        super().__init__(host, disk)
        self._witness = witness

    async def _commit(
        self, call: Callable[..., Awaitable[T]], seen: Callable[[T], Awaitable[None] | None], given: Sequence[Any]
    ) -> T:
        # Whoever is cancelled does not wait for the answer; it comes, and is seen, all the same.
        work = asyncio.ensure_future(self._asked(call, seen, given))
        work.add_done_callback(lambda one: one.cancelled() or one.exception())
        return await asyncio.shield(work)

    async def _asked(
        self, call: Callable[..., Awaitable[T]], seen: Callable[[T], Awaitable[None] | None], given: Sequence[Any]
    ) -> T:
        asked = asked_of(self.host, given)
        self._witness.asked.append(asked)
        try:
            done = await call(*given)
        except Exception:
            self._witness.asked.remove(asked)
            raise
        self._witness.asked.remove(asked)
        told = seen(done)
        if told is not None:
            await told
        return done


def asked_of(host: Host, given: Sequence[Any]) -> Asked:
    match given:
        case (Change() as change,):
            return Asked(host, change=change)
        case ([LaneChange(), *_] as settles,):
            return Asked(host, settles=settles)
        case ([Draft(), *_] as drafts,):
            return Asked(host, drafts=drafts)
        case _:
            return Asked(host)


class _Reads:
    """Whatever is not said otherwise goes through as a read. `part`: of an engine that may not have been started."""

    def __init__(self, part: Callable[[], Any], way: _Way, witness: Witness) -> None:
        self._part = part
        self._way = way
        self._witness = witness

    @property
    def _inner(self) -> Any:
        return self._part()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def through(*given: Any) -> Any:
            return await self._way.read(call, *given)

        setattr(self, name, through)
        return through


class _Journal(_Reads):
    def __init__(
        self,
        part: Callable[[], Journal],
        way: _Way,
        witness: Witness,
        hints: list[Callable[[frozenset[StoreId]], None]],
    ) -> None:
        super().__init__(part, way, witness)
        self._hints = hints

    async def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        kept = [self._way.disk.kept(draft) for draft in drafts]

        async def seen(answers: list[Appended]) -> None:
            await self._witness.appended(self._way.host, drafts, answers)
            for draft, one, answer in zip(drafts, kept, answers, strict=True):
                if one is not draft and isinstance(answer, Kept):
                    self._witness.rotten(draft)

        done: list[Appended] = await self._way.write(self._inner.append, seen, kept)
        return done

    async def subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        standing: bytes | None = await self._way.read(self._inner.subject_key, store, ref)
        return None if (store, ref) in self._way.disk.erased else standing

    def known_subject_key(self, store: StoreId, ref: bytes) -> bytes | None:
        found: bytes | None = self._inner.known_subject_key(store, ref)
        return found

    def on_news(self, listener: Callable[[frozenset[StoreId]], None]) -> None:
        self._hints.append(listener)


class _Lanes(_Reads):
    async def settle(self, changes: Sequence[LaneChange]) -> list[bool]:
        async def seen(answers: list[bool]) -> None:
            for change, counted in zip(changes, answers, strict=True):
                await self._witness.settled(self._way.host, change, counted)

        done: list[bool] = await self._way.write(self._inner.settle, seen, changes)
        return done


class _Registry(_Reads):
    """Its listeners hear of this process's own changes, as with every engine that processes share."""

    def __init__(
        self, part: Callable[[], Registry], way: _Way, witness: Witness, listeners: list[Callable[[Change], None]]
    ) -> None:
        super().__init__(part, way, witness)
        self._listeners = listeners

    async def commit(self, change: Change) -> None:
        async def seen(_: None) -> None:
            await self._witness.committed(self._way.host, change)

        await self._way.write(self._inner.commit, seen, change)
        for listener in self._listeners:
            listener(change)

    def on_change(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)


class _Slots:
    def __init__(self, inner: Engine, way: _Way, witness: Witness) -> None:
        self._inner = inner.slots
        self._way = way
        self._witness = witness

    async def beat(self, member: str) -> Standing:
        return await self._way.write(
            self._inner.beat, lambda standing: self._witness.beaten(self._way.host, standing), member
        )

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        return await self._way.write(
            self._inner.claim, lambda slots: self._witness.claimed(self._way.host, slots), member, at_most
        )

    async def release(self, member: str, slots: Collection[int]) -> None:
        await self._way.write(self._inner.release, _unseen, member, slots)

    async def leave(self, member: str) -> None:
        await self._way.write(self._inner.leave, _unseen, member)


def _unseen(_: object) -> None:
    """Nobody keeps books of this."""
