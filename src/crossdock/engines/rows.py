"""What every SQL engine writes alike, in the order of its columns, and what it remembers of subjects' keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from crossdock.model.attempt import Answer, AnswerKind, Attempt
from crossdock.model.entry import Appended, Draft, Kept, OtherKey
from crossdock.model.ids import LaneId, Position, StoreId
from crossdock.model.limits import SUBJECT_KEYS_KNOWN_MAX

SqlValue: TypeAlias = "None | int | str | bytes"
Row: TypeAlias = "tuple[SqlValue, ...]"


def entry_row(draft: Draft, position: Position) -> Row:
    """Every column of `entries`."""
    return (
        draft.store,
        position,
        draft.origin,
        draft.dedupe_key,
        draft.fingerprint,
        draft.event_id,
        draft.type,
        draft.schema_major,
        draft.source,
        draft.occurred_at,
        draft.received_at,
        draft.correlation_id,
        draft.body,
        draft.personal,
        draft.subject_ref,
        draft.traceparent,
        draft.caused_by,
        draft.hops,
    )


def attempt_row(lane: LaneId, seq: int, attempt: Attempt) -> Row:
    """Every column of `attempts`."""
    answer = attempt.answer
    return (
        lane.store,
        lane.connection,
        lane.route,
        seq,
        attempt.position,
        attempt.event_id,
        attempt.number,
        attempt.at,
        answer.kind,
        answer.code,
        answer.took_ms,
        answer.status,
        answer.retry_after_ms,
        attempt.next,
        attempt.correlation_id,
        attempt.not_before,
    )


def attempt_of(row: Sequence[Any]) -> Attempt:
    """From `position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, next, correlation_id,
    not_before`."""
    position, event_id, number, at, kind, code, took_ms, status, retry_after_ms, after, correlation, not_before = row
    answer = Answer(AnswerKind(kind), code, took_ms, status, retry_after_ms)
    return Attempt(position, event_id, number, at, answer, after, correlation, not_before)


class KnownKeys:
    """The standing keys that a process has seen, the oldest forgotten first. The first key of a subject stands, whoever
    wrote it."""

    def __init__(self) -> None:
        self._known: dict[tuple[StoreId, bytes], bytes] = {}

    def get(self, store: StoreId, ref: bytes) -> bytes | None:
        return self._known.get((store, ref))

    def learn(self, draft: Draft, answer: Appended) -> None:
        """What the answer to an append tells of its subject's key."""
        if draft.subject_ref is None:
            return
        if isinstance(answer, OtherKey):
            self.remember(draft.store, draft.subject_ref, answer.standing)
        elif isinstance(answer, Kept) and draft.subject_key is not None:
            self.remember(draft.store, draft.subject_ref, draft.subject_key)

    def remember(self, store: StoreId, ref: bytes, wrapped: bytes) -> None:
        self._known[store, ref] = wrapped
        if len(self._known) > SUBJECT_KEYS_KNOWN_MAX:
            del self._known[next(iter(self._known))]
