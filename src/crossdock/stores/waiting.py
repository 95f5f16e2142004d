"""Waiting that something can cut short, handed in where a test wants its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from crossdock.model.limits import SECOND_MS

Waiter: TypeAlias = "Callable[[asyncio.Event, int], Awaitable[None]]"


async def wait_until(event: asyncio.Event, wait_ms: int) -> None:
    """Until `event` is set, or `wait_ms` have passed."""
    try:
        await asyncio.wait_for(event.wait(), wait_ms / SECOND_MS)
    except TimeoutError:
        return
