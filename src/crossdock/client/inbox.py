"""What came in for a store, as the core takes it: handle, then mark. Pure: the marks travel with the next call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Reject(Exception):
    """Raise it in a handler for an event that can never be taken: it is parked for a person. `reason` is a short code
    (a-z, 0-9, _ . -), for example `unknown_sku`; never data of the event."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class InboxEvent:
    """An event (CloudEvents, `event["data"]` is what the contract lets in) and the handle that acknowledges it.

    One that is neither acknowledged nor rejected comes again.
    """

    handle: str
    event: dict[str, Any] = field(repr=False)
    connection: str = ""
    route: str = ""
    attempt: int = 1
    replay: bool = False
    correlation_id: str = ""
    _mark: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        return str(self.event.get("id", ""))

    @property
    def type(self) -> str:
        return str(self.event.get("type", ""))

    @property
    def data(self) -> Any:
        return self.event.get("data")

    def ack(self) -> None:
        """It is kept on your side: it will not come again."""
        self._mark = ""

    def reject(self, reason: str) -> None:
        """It can never be taken: it is parked for a person. `reason` is a code, as for Reject."""
        self._mark = reason or "rejected"

    @property
    def reason(self) -> str | None:
        """None while unmarked, '' when acknowledged, else why it was rejected."""
        return self._mark


def page_of(answer: Mapping[str, Any]) -> list[InboxEvent]:
    """The events of one pull, in order."""
    return [
        InboxEvent(
            handle=str(item["handle"]),
            event=dict(item["event"]),
            connection=str(item.get("connection", "")),
            route=str(item.get("route", "")),
            attempt=int(item.get("attempt", 1)),
            replay=bool(item.get("replay", False)),
            correlation_id=str(item.get("correlation_id", "")),
        )
        for item in answer.get("items", ())
    ]


@dataclass(frozen=True, slots=True)
class Marks:
    acked: tuple[str, ...]
    rejected: tuple[dict[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.acked or self.rejected)


def marks_of(page: Sequence[InboxEvent]) -> Marks:
    return Marks(
        tuple(item.handle for item in page if item.reason == ""),
        tuple({"handle": item.handle, "reason": item.reason} for item in page if item.reason),
    )
