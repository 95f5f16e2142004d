"""From a shaped event to a sealed draft, and again under another subject key when the journal says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from crossdock.credentials.seal import place
from crossdock.credentials.vault import StoreKeys, SubjectKey
from crossdock.ingest.shaping import Shaped
from crossdock.journal.port import Journal
from crossdock.model.entry import Appended, Draft, OtherKey
from crossdock.model.errors import Unavailable
from crossdock.model.ids import (
    ConnectionId,
    CorrelationId,
    EventId,
    Instant,
    StoreId,
    base32,
)

RESEALS_MAX = 4  # each round ends unless somebody erases and re-creates the same person's key meanwhile
EVENT_ID_DIGITS = 26


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is known of an event beside its data. `event_id` None makes one of the dedupe key, the same every time."""

    store: StoreId
    origin: str
    dedupe: Sequence[str | bytes]
    sent: bytes
    event_id: EventId | None
    source: str
    occurred_at: Instant
    received_at: Instant
    correlation_id: CorrelationId
    traceparent: str | None = None
    caused_by: ConnectionId | None = None
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """A draft, and its personal part in the clear for as long as it may have to be sealed again."""

    draft: Draft
    personal: bytes | None


class Packer:
    """Seals the events of one request. A person whom several of them name gets one key."""

    def __init__(self, keys: StoreKeys, journal: Journal) -> None:
        self._keys = keys
        self._journal = journal
        self._subjects: dict[bytes, SubjectKey] = {}

    def pack(self, shaped: Shaped, stamp: Stamp) -> Packed:
        keys = self._keys
        dedupe = keys.fingerprint(place("dedupe", stamp.origin, *stamp.dedupe))
        event_id = stamp.event_id or made_id(keys.fingerprint, stamp.origin, dedupe)
        draft = Draft(
            store=stamp.store,
            origin=stamp.origin,
            dedupe_key=dedupe.hex(),
            fingerprint=keys.fingerprint(place("sent", stamp.sent)),
            event_id=event_id,
            type=shaped.event.type,
            schema_major=shaped.event.major,
            source=stamp.source,
            occurred_at=stamp.occurred_at,
            received_at=stamp.received_at,
            correlation_id=stamp.correlation_id,
            body=keys.seal_body(event_id, shaped.body),
            traceparent=stamp.traceparent,
            caused_by=stamp.caused_by,
            hops=stamp.hops,
        )
        if shaped.personal is None:
            return Packed(draft, None)
        # Without a person's name the personal part belongs to the event alone, and can be erased with it.
        ref = keys.subject_ref(shaped.subject or f"event={stamp.origin}={event_id}")
        return self._sealed(Packed(draft, shaped.personal), self._subject(stamp.store, ref))

    def resealed(self, packed: Packed, standing: bytes) -> Packed:
        """The same under the subject's standing key."""
        ref = packed.draft.subject_ref or b""
        key = self._keys.open_subject_key(ref, standing)
        self._subjects[ref] = key
        return self._sealed(packed, key)

    def _sealed(self, packed: Packed, key: SubjectKey) -> Packed:
        sealed = self._keys.seal_personal(key, packed.draft.event_id, packed.personal or b"")
        return Packed(
            replace(packed.draft, personal=sealed, subject_ref=key.ref, subject_key=key.wrapped), packed.personal
        )

    def _subject(self, store: StoreId, ref: bytes) -> SubjectKey:
        """The person's key as the journal knows it; else a new one is proposed, and `OtherKey` tells if it stands."""
        known = self._subjects.get(ref)
        if known is None:
            standing = self._journal.known_subject_key(store, ref)
            known = self._keys.new_subject_key(ref) if standing is None else self._keys.open_subject_key(ref, standing)
            self._subjects[ref] = known
        return known


async def keep(journal: Journal, packer: Packer, packed: list[Packed]) -> list[Appended]:
    """Appends them all, one answer each, after the commit. Where a person got another key meanwhile, their events are
    sealed again; Unavailable (CD1019) if that does not settle."""
    answers: list[Appended] = await journal.append([one.draft for one in packed])
    for _ in range(RESEALS_MAX):
        other = [(at, answer.standing) for at, answer in enumerate(answers) if isinstance(answer, OtherKey)]
        if not other:
            return answers
        for at, standing in other:
            packed[at] = packer.resealed(packed[at], standing)
        again = await journal.append([packed[at].draft for at, _ in other])
        for (at, _), answer in zip(other, again, strict=True):
            answers[at] = answer
    if any(isinstance(answer, OtherKey) for answer in answers):
        raise Unavailable("CD1019", "A person's key changed while the event was sealed.", remedy="Send it again.")
    return answers


def made_id(fingerprint: Callable[[bytes], bytes], origin: str, dedupe: bytes) -> EventId:
    """An id that follows from what makes the event itself, so that a repeat has the same one. It tells nothing."""
    return EventId("evt_" + base32(fingerprint(place("event id", origin, dedupe)), EVENT_ID_DIGITS))
