"""The one place of the client that reads the wall clock and makes random bytes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from crossdock.client.events import completed


def stamped(event: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The event as it will be sent, with an id and a time of now where they lack. Raises InvalidEvent."""
    now_ms = time.time_ns() // 1_000_000  # noqa: TID251 - the client stands alone: this is the application's edge
    return completed(event, now_ms=now_ms, random=secrets.token_bytes(10), source=source)
