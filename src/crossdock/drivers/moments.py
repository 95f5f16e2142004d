"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from crossdock.model.ids import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: Instant) -> str:
    """RFC 3339 in UTC with milliseconds, as CloudEvents wants its `time`."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
