"""The client of Crossdock: publish, consume, manage, and an outbox in the application's own database.

It imports nothing else of this package, so that it can be copied into an application.
"""

from __future__ import annotations

from crossdock.client.aio import AsyncCrossdock
from crossdock.client.events import Receipt
from crossdock.client.inbox import InboxEvent, Reject
from crossdock.client.problems import (
    ClientError,
    Conflict,
    InvalidEvent,
    NotAllowed,
    NotFound,
    Problem,
    Refused,
    TooFast,
    Unavailable,
    Unreachable,
)
from crossdock.client.sync import Crossdock

__all__ = [
    "AsyncCrossdock",
    "ClientError",
    "Conflict",
    "Crossdock",
    "InboxEvent",
    "InvalidEvent",
    "NotAllowed",
    "NotFound",
    "Problem",
    "Receipt",
    "Refused",
    "Reject",
    "TooFast",
    "Unavailable",
    "Unreachable",
]
