"""How long healthy keys wait while others are stuck: one lane with many keys, in virtual time."""

from __future__ import annotations

import asyncio

from crossdock.model.limits import SECOND_MS
from crossdock.testing.world.director import Director, Plot
from crossdock.testing.world.plots import Scenario
from crossdock.testing.world.receivers import STUCK
from crossdock.testing.world.run import World, play
from crossdock.testing.world.stage import BEGIN, Wish
from crossdock.testing.world.storage import memory

EVENTS_PER_KEY = 2
EVENTS_PER_SECOND = 30


class ManyKeys(Director):
    """Events of all keys in turn, at an even pace. `keys` of the plot, of which the share `poison` is stuck."""

    async def play(self) -> None:
        (site,) = self.cast.sites
        for receiver in self.cast.receivers:
            receiver.mood.sticks = True
        stuck = int(self.plot.keys * self.plot.poison)
        names = [f"{STUCK}-{at}" if at < stuck else f"k{at}" for at in range(self.plot.keys)]
        self.dice.shuffle(names)
        for name in names * EVENTS_PER_KEY:
            self.senders.order(site, name)
            await asyncio.sleep(1 / EVENTS_PER_SECOND)
        await asyncio.sleep(5.0)
        await self.put_right()


def p99_of_healthy(keys: int, poison: float, seed: int = 1) -> tuple[float, str]:
    """The time from an event to its far end, in ms, that 99 of 100 events of healthy keys stay below; and what went
    wrong, '' for nothing."""
    scenario = Scenario(wish=Wish((("orders",),)), plot=Plot(keys=keys, poison=poison))
    world = World(seed, scenario, memory, False, ManyKeys)
    outcome = play(world)
    waits = sorted(
        (at - 1_000) * SECOND_MS - (fact.occurred_at - BEGIN)
        for fact, at in world.books.first_takes
        if STUCK not in fact.key
    )
    return (waits[len(waits) * 99 // 100] if waits else float("inf")), outcome.wrong
