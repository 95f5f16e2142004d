"""How far a lane is behind, so that a receiver that stays down bounds what its sender may pile up."""

from __future__ import annotations

from collections import OrderedDict

from crossdock.journal.port import Journal, Lanes
from crossdock.model.errors import TooFast
from crossdock.model.ids import Instant, LaneId

LOOK_MS = 1_000  # how old a look may be: at the fastest rate of a route, a bound is passed by a second's worth
LOOKS_MAX = 16_384
RETRY_AFTER_MS = 30_000  # a backlog goes down slowly: asking more often changes nothing


class Backlog:
    """Entries after a lane's cursor, looked up at most once in LOOK_MS, by one caller at a time. The store's whole
    journal counts, so it is never too low; a lane passes over what is not its own at once."""

    def __init__(self, journal: Journal, lanes: Lanes) -> None:
        self._journal = journal
        self._lanes = lanes
        self._looks: OrderedDict[LaneId, tuple[Instant, int]] = OrderedDict()
        self._looking: set[LaneId] = set()

    async def check(self, lane: LaneId, backlog_max: int, now: Instant) -> None:
        """TooFast (CD1017) at or beyond `backlog_max`."""
        if await self._behind(lane, now) >= backlog_max:
            raise TooFast(
                "CD1017",
                "Too much of this is still undelivered.",
                retry_after_ms=RETRY_AFTER_MS,
                remedy="Send it again later; nothing of it was kept.",
            )

    async def _behind(self, lane: LaneId, now: Instant) -> int:
        look = self._looks.get(lane)
        if look is not None and (0 <= now - look[0] < LOOK_MS or lane in self._looking):
            return look[1]  # whoever comes while somebody looks takes what was seen before
        self._looking.add(lane)
        try:
            row = await self._lanes.lane(lane)
            behind = await self._journal.head(lane.store) - row.cursor if row is not None else 0
        finally:
            self._looking.discard(lane)
        self._looks[lane] = (now, behind)
        self._looks.move_to_end(lane)
        if len(self._looks) > LOOKS_MAX:
            self._looks.popitem(last=False)
        return behind
