"""What other processes change is seen here too: the audit log names the stores, and caches drop what is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from crossdock.model.errors import CrossdockError
from crossdock.model.limits import CHANGES_POLL_MS
from crossdock.observe.lines import Lines
from crossdock.stores.port import Changes, Registry
from crossdock.stores.waiting import Waiter, wait_until


class Watch:
    """Asks every CHANGES_POLL_MS which stores were changed, and tells `hearers`, in their order: caches first, then who
    reads through them. This process's own changes come too, after they were seen already."""

    def __init__(
        self,
        registry: Registry,
        hearers: Sequence[Callable[[Changes], None]],
        lines: Lines,
        wait: Waiter = wait_until,
    ) -> None:
        self._registry = registry
        self._hearers = hearers
        self._lines = lines
        self._wait = wait
        self._seq: int | None = None
        self._failing = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What is changed after the first `look` is told; call it before anything is cached."""
        while not stop.is_set():
            await self.look()
            await self._wait(stop, CHANGES_POLL_MS)

    async def look(self) -> bool:
        """Asks once; False if there was no answer. Nothing is missed: the next one asks from the same number."""
        try:
            changes = await self._registry.changes(self._seq)
        except CrossdockError as error:
            if not self._failing:
                self._lines.write("engine.failed", engine="watch", code=error.code, error=error.message)
            self._failing = True
            return False
        self._failing = False
        self._seq = changes.seq
        if changes.stores or changes.platform:
            for hearer in self._hearers:
                hearer(changes)
        return True
