"""How a far end is treated that is away for an hour, in virtual time: half of it takes no connection, then nine calls
of ten fail; then it is back, and all that waits is owed to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crossdock.delivery.decide import cap_ms
from crossdock.testing.world.director import Director, Plot
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.plots import Scenario
from crossdock.testing.world.run import World, play
from crossdock.testing.world.stage import CONTRACTS, Wish, newest_but_one
from crossdock.testing.world.storage import memory

HOUR_SECONDS = 3_600
AT_ONCE = 25  # events in one request of the core's
GOOD_EVERY = 10  # so that the breaker, which counts failures in a row, never opens


class AwayForAnHour(Director):
    """`events` of the plot come evenly over the hour."""

    async def play(self) -> None:
        (receiver,) = self.cast.receivers
        (site,) = self.cast.sites
        house, requests = self.cast.house(site), self.plot.events // AT_ONCE
        for at in range(requests):
            receiver.mood.welcome = "refused" if at < requests // 2 else "yes"
            receiver.mood.every, receiver.mood.manners = GOOD_EVERY, (Manner.BROKEN,)
            self.senders.publish(house, f"k{at}-", count=AT_ONCE)
            await asyncio.sleep(HOUR_SECONDS / requests)
        receiver.mood.every = 0
        self.books.back_at = asyncio.get_running_loop().time()
        await asyncio.sleep(60)
        await self.put_right()


@dataclass(frozen=True, slots=True)
class Patience:
    """`firsts` and `retries` sent; `jitter` is the p-value of the waits being drawn evenly; `crowding` as in Record."""

    wrong: str
    waited: int
    firsts: int
    retries: int
    jitter: float
    crowding: int

    @property
    def holds(self) -> bool:
        return not self.wrong and self.retries <= 0.2 * self.firsts and self.jitter > 0.01 and not self.crowding


def patience(events: int, seed: int = 1) -> Patience:
    scenario = Scenario(wish=Wish((("patient",),)), plot=Plot(events=events))
    world = World(seed, scenario, memory, False, AwayForAnHour)
    outcome = play(world)
    tries = world.books.tries
    retries = sum(number > 1 for number, _ in tries)
    rule = newest_but_one(CONTRACTS["patient"]).routes[0].retry
    drawn = [wait / (cap_ms(rule, number) + 1) for number, wait in tries if wait is not None]
    waited = sum(at >= (world.books.back_at or 0) for _, at in world.books.first_takes)
    return Patience(outcome.wrong, waited, len(tries) - retries, retries, even(drawn), world.books.crowding)


def even(drawn: Iterable[float]) -> float:
    """The p-value of the Kolmogorov-Smirnov test that `drawn` is uniform on [0, 1), by Kolmogorov's distribution with
    Stephens' correction for few (Journal of the Royal Statistical Society B 32, 1970)."""
    values: Sequence[float] = sorted(drawn)
    count = len(values)
    if not count:
        return 0.0
    distance = max(max((at + 1) / count - value, value - at / count) for at, value in enumerate(values))
    scaled = distance * (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count))
    if scaled < 0.2:
        return 1.0  # the sum below does not converge there, and is 1 to nine digits
    terms = [math.exp(-2 * (n * scaled) ** 2) * (1 if n % 2 else -1) for n in range(1, 101)]
    return min(1.0, max(0.0, 2 * math.fsum(terms)))
