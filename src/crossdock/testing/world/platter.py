"""What a disk keeps of a file and of a directory when the power goes. Pure: chance is an argument.

A file has what is durable, and the changes that were made since the last sync, in order. Programs read both together.
Until a sync has returned, a cut may keep any part of those changes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

SECTORS = (512, 4_096)
"""Sizes in which a write may tear: of old disks and of today's. Outside a write's own bytes nothing is harmed
(SQLite's "powersafe overwrite", which it takes for granted on Unix: https://sqlite.org/psow.html)."""
NOISE_CHANCE = 0.1  # that a sector which the cut met holds neither the old nor the new


@dataclass(frozen=True, slots=True)
class Written:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    size: int


Change = Written | Truncated


class Manner(Enum):
    """How a cut treats what was not synced."""

    NOTHING = auto()  # all of it is lost
    ALL = auto()  # all of it is kept
    FIRST = auto()  # a first part is kept, the write at its end torn
    SOME = auto()  # each is kept, lost or torn by itself
    SECTORS = auto()  # each sector of each write is kept or lost by itself
    SHUFFLED = auto()  # some are kept, and went to the disk in another order


MANNERS = tuple(Manner)


class Fate(Enum):
    """What a sync that fails leaves of the changes that it was to write."""

    DIRTY = auto()  # they are tried again with the next sync
    SHOWN = auto()  # programs still read them, and no later sync writes them
    DROPPED = auto()  # they are gone, also for programs
    MIXED = auto()  # each by itself, or written all the same


FATES = tuple(Fate)


def survivors(changes: Sequence[Change], manner: Manner, dice: random.Random) -> list[Change]:
    """The changes that are on the disk after a cut, in the order in which they count."""
    match manner:
        case Manner.NOTHING:
            return []
        case Manner.ALL:
            return list(changes)
        case Manner.FIRST:
            kept = dice.randint(0, len(changes))
            return [*changes[:kept], *(torn(changes[kept], dice) if kept < len(changes) else ())]
        case Manner.SOME:
            return [one for change in changes for one in maybe(change, dice)]
        case Manner.SECTORS:
            return [one for change in changes for one in torn(change, dice)]
        case Manner.SHUFFLED:
            return dice.sample(changes, dice.randint(0, len(changes)))


def maybe(change: Change, dice: random.Random) -> Iterable[Change]:
    luck = dice.random()
    if luck < 0.4:
        return (change,)
    return torn(change, dice) if luck < 0.6 else ()


def torn(change: Change, dice: random.Random) -> list[Change]:
    """The sectors of a write that made it, with noise in some; a truncation is made or not."""
    if isinstance(change, Truncated):
        return [change] if dice.random() < 0.5 else []
    sector = dice.choice(SECTORS)
    made: list[Change] = []
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // sector + 1) * sector)
        made += piece(start, change.data[start - change.offset : stop - change.offset], dice)
        start = stop
    return made


def piece(offset: int, data: bytes, dice: random.Random) -> list[Change]:
    """One sector of a torn write: kept, lost, cut short, or noise."""
    luck = dice.random()
    if luck < NOISE_CHANCE:
        return [Written(offset, dice.randbytes(len(data)))]
    if luck < 2 * NOISE_CHANCE:
        return [Written(offset, data[: dice.randrange(len(data))])]
    return [Written(offset, data)] if luck < 0.6 else []


def make(content: bytearray, change: Change) -> None:
    """Changes the bytes. What lies between the old end and a write beyond it is zeros."""
    if isinstance(change, Truncated):
        if change.size < len(content):
            del content[change.size :]
        else:
            content.extend(bytes(change.size - len(content)))
    else:
        if len(content) < change.offset:
            content.extend(bytes(change.offset - len(content)))
        content[change.offset : change.offset + len(change.data)] = change.data


class File:
    """`view` is what programs read; `waiting` are the changes that no sync has made durable."""

    def __init__(self) -> None:
        self.view = bytearray()
        self.waiting: list[Change] = []
        self._durable = bytearray()
        self._shown = False

    def change(self, change: Change) -> None:
        make(self.view, change)
        self.waiting.append(change)

    def sync(self) -> None:
        for change in self.waiting:
            make(self._durable, change)
        self.waiting.clear()

    def sync_failed(self, dice: random.Random) -> None:
        fate = dice.choice(FATES)
        waiting, self.waiting = self.waiting, []
        dropped = False
        for change in waiting:
            match dice.choice(FATES) if fate is Fate.MIXED else fate:
                case Fate.DIRTY:
                    self.waiting.append(change)
                case Fate.SHOWN:
                    self._shown = True
                case Fate.DROPPED:
                    dropped = True
                case Fate.MIXED:
                    make(self._durable, change)
        if dropped:
            self.forget()

    def forget(self) -> None:
        """Programs read from the disk again what no sync will write."""
        self._read_again()
        for change in self.waiting:
            make(self.view, change)

    def forget_by_chance(self, dice: random.Random) -> None:
        if self._shown and dice.random() < 0.5:
            self.forget()

    def cut(self, dice: random.Random) -> None:
        if self.waiting:
            for change in survivors(self.waiting, dice.choice(MANNERS), dice):
                make(self._durable, change)
            self.waiting.clear()
            self._read_again()
        elif self._shown:
            self._read_again()

    def _read_again(self) -> None:
        self.view = bytearray(self._durable)
        self._shown = False


class Directory:
    """Names of files. A name that was made or removed is durable once the directory was synced; until then a cut keeps
    a first part of what was done with each name, each name by itself."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self._durable: dict[str, File] = {}
        self._waiting: list[tuple[str, File | None]] = []

    def link(self, name: str) -> File:
        file = self.files[name] = File()
        self._waiting.append((name, file))
        return file

    def unlink(self, name: str) -> None:
        del self.files[name]
        self._waiting.append((name, None))

    def rename(self, source: str, target: str) -> None:
        """Harsher than a real one, which is one step: a cut may keep either name's part of it alone."""
        file = self.files[target] = self.files.pop(source)
        self._waiting += [(target, file), (source, None)]

    def sync(self) -> None:
        self._durable = dict(self.files)
        self._waiting.clear()

    def cut(self, dice: random.Random) -> None:
        for name in dict.fromkeys(name for name, _ in self._waiting):
            done = [file for other, file in self._waiting if other == name]
            for file in done[: dice.randint(0, len(done))]:
                self._durable.pop(name, None)
                if file is not None:
                    self._durable[name] = file
        self._waiting.clear()
        self.files = dict(sorted(self._durable.items()))
        for file in self.files.values():
            file.cut(dice)
