"""Which world belongs to a seed: how large it is, how many processes share it, and what goes wrong in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from crossdock.testing.world.director import DAY_MS, Plot
from crossdock.testing.world.manners import Manner
from crossdock.testing.world.stage import KINDS, Wish

RELATIVE = tuple(one for one in Manner if one is not Manner.RESTING)
"""Without a Retry-After that is a date: whose clock is a day off waits for that as long as it may, six hours."""
THEMES: dict[str, dict[str, float]] = {
    "rude": {"mood": 4, "up": 1, "burst": 0.5},
    "down": {"down": 3, "up": 2, "burst": 1},
    "crashes": {"crash": 3, "join": 2, "drain": 1, "weather": 0.5},
    "freezes": {"freeze": 3, "thaw": 1, "join": 1, "mood": 1},
    "clocks": {"jump": 3, "mood": 2},
    "weather": {"weather": 3, "mood": 1},
    "people": {"pause": 2, "resume": 2, "configure": 2, "replay": 2, "disable": 1, "rotate": 1, "erase": 2, "mood": 1},
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """`manners` are the senders' (see senders.Manners): shares lost, sent again, conflicting."""

    wish: Wish
    plot: Plot
    processes: int = 1
    skews: tuple[int, ...] = (0,)
    shuffled: bool = False
    hints_lost: float = 0.0
    disk_slow: float = 0.3
    disk_rots: float = 0.0
    manners: tuple[float, float, float] = (0.0, 0.0, 0.0)
    themes: tuple[str, ...] = field(default=())


def scenario_of(seed: int) -> Scenario:
    dice = random.Random(f"{seed} plot")
    houses = tuple(
        tuple(dice.choices(KINDS, (4, 2, 2, 2, 2), k=dice.choice((1, 1, 2))))
        for _ in range(dice.choice((1, 1, 2, 2, 3)))
    )
    themes = tuple(sorted(dice.sample(sorted(THEMES), dice.choice((1, 1, 2, 2, 3)))))
    weights: dict[str, float] = {}
    for theme in themes:
        for act, weight in THEMES[theme].items():
            weights[act] = weights.get(act, 0.0) + weight
    several = "crashes" in themes or "freezes" in themes or dice.random() < 0.2
    return Scenario(
        wish=Wish(houses),
        plot=Plot(
            events=dice.choice((3, 5, 5, 8, 12)),
            keys=dice.choice((1, 2, 4)),
            seconds=dice.choice((4.0, 12.0, 30.0)),
            weights=weights,
            manners=RELATIVE if "clocks" in themes else tuple(Manner),
        ),
        processes=dice.choice((2, 2, 3)) if several else 1,
        skews=dice.choice(((0,), (0, 3_000), (0, -DAY_MS, DAY_MS))) if "clocks" in themes else (0,),
        shuffled=dice.random() < 0.5,
        hints_lost=dice.choice((0.0, 0.0, 0.5)),
        disk_slow=dice.choice((0.0, 0.3, 0.8)),
        disk_rots=dice.choice((0.0, 0.0, 0.0, 0.05)),
        manners=(dice.choice((0.0, 0.2)), dice.choice((0.0, 0.2)), dice.choice((0.0, 0.1))),
        themes=themes,
    )


def alone(scenario: Scenario) -> Scenario:
    """The same for an engine that one process opens: it may end at any call of the disk, with or without the power."""
    return replace(
        scenario,
        plot=replace(scenario.plot, weights=scenario.plot.weights | {"power": 2.0, "crash": 1.0}),
        processes=1,
        skews=(0,),
        disk_rots=0.0,
    )


HOOKS = Wish((("webhook",), ("webhook",)))


def clocks(seed: int) -> Scenario:
    """Wall clocks jump by up to a day, forwards and backwards, while far ends make deliveries wait."""
    dice = random.Random(f"{seed} clocks")
    several = dice.random() < 0.3
    weights = {"jump": 6.0, "mood": 3.0, "down": 2.0, "up": 0.5} | ({"crash": 0.5} if several else {})
    return Scenario(
        wish=Wish((("webhook", "orders"), ("webhook",))),
        plot=Plot(events=10, keys=3, seconds=15.0, weights=weights, manners=RELATIVE),
        processes=2 if several else 1,
        skews=(0, -DAY_MS, DAY_MS) if several else (0,),
        shuffled=dice.random() < 0.5,
        themes=("clocks",),
    )


def leases(seed: int) -> Scenario:
    """Processes freeze for longer than their leases while far ends take their time, and go on."""
    dice = random.Random(f"{seed} leases")
    return Scenario(
        wish=HOOKS,
        plot=Plot(
            events=14,
            seconds=25.0,
            weights={"freeze": 5.0, "mood": 4.0, "crash": 0.5},
            manners=(Manner.SLOW, Manner.LATE, Manner.HANG, Manner.CUT_BEFORE),
        ),
        processes=2,
        shuffled=dice.random() < 0.5,
        disk_slow=dice.choice((0.0, 0.8)),
        themes=("leases",),
    )


def refusals(seed: int) -> Scenario:
    """Far ends that ask for time, that are down, that fail many times in a row; and bursts."""
    dice = random.Random(f"{seed} refusals")
    return Scenario(
        wish=Wish((("webhook",),)),
        plot=Plot(
            events=8,
            keys=dice.choice((1, 2, 8)),
            seconds=10.0,
            weights={"mood": 5.0, "burst": 3.0, "down": 2.0, "up": 0.3},
            manners=(Manner.THROTTLED, Manner.SPENT, Manner.BROKEN, Manner.RESET, Manner.REJECTED),
        ),
        shuffled=dice.random() < 0.5,
        themes=("refusals",),
    )


def rudeness(seed: int) -> Scenario:
    """Every manner of answering, to every kind of request, some of which cannot even be made."""
    dice = random.Random(f"{seed} rudeness")
    return Scenario(
        wish=Wish((dice.choice((("acme", "batch"), ("batch", "orders"), ("acme", "webhook"), ("batch",))),)),
        plot=Plot(
            events=12, keys=2, seconds=12.0, poison=0.05, odd=0.15, weights={"mood": 6.0, "up": 0.5, "burst": 0.5}
        ),
        shuffled=dice.random() < 0.5,
        disk_rots=dice.choice((0.0, 0.05)),
        themes=("rudeness",),
    )


def chains(seed: int) -> Scenario:
    """Few keys, whose events wait for each other while the far end fails, refuses, and is asked again."""
    dice = random.Random(f"{seed} chains")
    return Scenario(
        wish=Wish((("orders",),)),
        plot=Plot(
            events=12,
            keys=dice.choice((1, 2)),
            seconds=15.0,
            weights={"mood": 5.0, "replay": 4.0, "crash": 0.3},
            manners=(Manner.BROKEN, Manner.BROKEN, Manner.REJECTED),
        ),
        shuffled=dice.random() < 0.5,
        hints_lost=0.3,
        themes=("chains",),
    )


def people(seed: int) -> Scenario:
    """People pause, resume, change and replay, while everything runs."""
    dice = random.Random(f"{seed} people")
    return Scenario(
        wish=Wish((("webhook", "orders"), ("urgent",))),
        plot=Plot(
            events=12,
            keys=2,
            seconds=40.0,
            poison=0.2,
            weights={"replay": 5.0, "pause": 2.0, "resume": 1.0, "configure": 1.0, "disable": 0.5, "mood": 3.0},
            manners=(Manner.BROKEN, Manner.REJECTED, Manner.OK),
        ),
        processes=dice.choice((1, 2)),
        shuffled=dice.random() < 0.5,
        themes=("people",),
    )


def outages(seed: int) -> Scenario:
    """Power and process end again and again, while events come and people change things. For an engine with a disk."""
    dice = random.Random(f"{seed} outages")
    return Scenario(
        wish=Wish((dice.choice((("webhook",), ("orders", "webhook"), ("batch",))),)),
        plot=Plot(
            events=14,
            keys=2,
            seconds=20.0,
            weights={
                "power": 6.0,
                "mood": 2.0,
                "burst": 1.0,
                "replay": 2.0,
                "pause": 2.0,
                "resume": 3.0,
                "rotate": 2.0,
            },
            manners=(Manner.BROKEN, Manner.REJECTED, Manner.OK),
        ),
        shuffled=dice.random() < 0.5,
        manners=(0.2, 0.2, 0.1),
        themes=("outages",),
    )


PLOTS: dict[str, Callable[[int], Scenario]] = {
    "any": scenario_of,
    "clocks": clocks,
    "leases": leases,
    "refusals": refusals,
    "people": people,
    "rudeness": rudeness,
    "chains": chains,
    "outages": outages,
}
