"""Leased slots on PostgreSQL: `journal.slots.Slots`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from crossdock.engines.postgres.pool import Pool
from crossdock.journal.slots import Standing
from crossdock.model.limits import LEASE_MS, SLOTS

UNTIL_MS_MAX = LEASE_MS * 3 // 2  # no lease ends later, give or take how far a clock is set right at once


class PostgresSlots:
    """The lease lies on the member's row, by the server's clock; who takes or gives a slot decides under locks.

    A slot changes hands only while its taker holds the row of the member that had it, and that row can be locked so
    only when its lease has passed. So of a claim and a beat of that member one comes first. If the beat does, its row
    is locked or renewed: the claim passes it over, and what it owns stays. If the claim does, the beat waits for it,
    and then reads what the claim left: its standing never names a slot at an epoch that was taken before. A member that
    owns slots keeps its row however long ago it lapsed (`forget`; a foreign key holds it too), so there is always a row
    to meet at.

    Nobody waits for a member that froze inside a transaction: rows that are locked are skipped, those of slots too, and
    come with a later call. Only a lapsed member's own beat waits, for the claim that takes what it had. What a member
    believed while it slept harms nothing: a settle shares the rows of its slots until its commit and compares their
    epochs, so that it either comes before the claim, which then skips the slot, or finds another epoch."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def beat(self, member: str) -> Standing:
        async with self._pool.writes(()) as unit:
            await unit.run("join", member, LEASE_MS)
            lapsed = [row[0] for row in await unit.rows("lapsed", UNTIL_MS_MAX)]
            if lapsed:
                await unit.run("forget", lapsed)
            rows = await unit.rows("standing", member, UNTIL_MS_MAX)
        members, rank, lapse_ms, *_ = rows[0]
        owned = {slot: epoch for *_, slot, epoch in rows if slot is not None}
        return Standing(members, owned, rank, LEASE_MS if lapse_ms is None else lapse_ms)

    async def claim(self, member: str, at_most: int) -> Mapping[int, int]:
        """Nothing for a member whose own lease has passed."""
        if at_most <= 0:
            return {}
        async with self._pool.writes(()) as unit:
            if not await unit.rows("living", member):
                return {}
            lapsed = [row[0] for row in await unit.rows("lapsed", UNTIL_MS_MAX)]
            rows = await unit.rows("claim", member, lapsed, min(at_most, SLOTS))
        return {slot: epoch for slot, epoch in sorted(rows)}

    async def release(self, member: str, slots: Collection[int]) -> None:
        async with self._pool.writes(()) as unit:
            await unit.run("release_slots", member, list(slots))

    async def leave(self, member: str) -> None:
        async with self._pool.writes(()) as unit:
            await unit.run("release_slots", member, list(range(SLOTS)))
            await unit.run("leave", member)
