"""The primary killed again and again under load, and what that cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.ha.cluster import Cluster, ClusterFailed
from bench.ha.word import Word

REST_SECONDS = (0.5, 2.0)  # under load between two kills, drawn evenly
FROZEN_SECONDS = 0.3
WORD_SECONDS_MAX = 60.0


@dataclass(slots=True)
class Outcome:
    """`silences`: per kill, how long nobody was acknowledged, in seconds: the time to writable as senders see it."""

    silences: list[float] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0

    def shown(self) -> str:
        counted = f"{len(self.silences)} kills: {self.acknowledged:,} acknowledged, {self.lost} lost"
        ordered = sorted(self.silences)
        if not ordered:
            return counted
        return f"{counted}; time to writable p50 {ordered[len(ordered) // 2]:.1f} s, max {ordered[-1]:.1f} s"


def fail_over(
    cluster: Cluster, word: Word, kills: int, say: Callable[[str], None], *, between: Callable[[], None] = lambda: None
) -> list[float]:
    """Kills the primary `kills` times; every second time its links to the standbys freeze a moment before, as on a slow
    network. `between` is done before each. The silences; ClusterFailed if nobody is acknowledged again in a minute."""
    dice, silences = random.Random(1), []
    for number in range(1, kills + 1):
        if not word.heard(WORD_SECONDS_MAX):
            raise ClusterFailed("Nobody is acknowledged.")
        time.sleep(dice.uniform(*REST_SECONDS))
        between()
        frozen = number % 2 == 0
        word.listen()
        if frozen:
            cluster.freeze_links()
            time.sleep(FROZEN_SECONDS)
        victim = cluster.kill_primary()
        heir = cluster.wait_for_primary()
        alone = len(cluster.nodes) == 2
        if alone:
            cluster.revive(victim)  # until it is back nothing is acknowledged: the heir has no standby
        if not word.heard(WORD_SECONDS_MAX):
            raise ClusterFailed(f"{heir.name} is the primary, and nobody is acknowledged.")
        silences.append(word.silence_seconds)
        if not alone:
            cluster.revive(victim)
        cluster.wait_for_standbys()
        say(
            f"    kill {number}: {victim.name} -> {heir.name}{', links frozen before' if frozen else ''};"
            f" writable after {silences[-1]:.1f} s; {len(word.ids):,} acknowledged"
        )
    return silences
