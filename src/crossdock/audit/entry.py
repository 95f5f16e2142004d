"""Audit entries: which actions there are, how an entry is made, and the bytes and the leaf hash that stand for it.

The bytes are canonical JSON (RFC 8785, without floats), the leaf is RFC 6962's: whoever has the entry can compute both.
"""

from __future__ import annotations

import hashlib
import json

from crossdock.model.connection import AuditEntry, Principal
from crossdock.model.errors import Bug
from crossdock.model.ids import CorrelationId, Instant, Json, StoreId

ACTIONS = frozenset(
    {
        "authority.refused",
        "connection.configured",
        "connection.created",
        "connection.disabled",
        "connection.enabled",
        "connection.paused",
        "connection.resumed",
        "connection.rolled_back",
        "connection.validated",
        "core.set",
        "credential.dropped",
        "credential.set",
        "event.viewed",
        "lane.replayed",
        "store.created",
        "store.gate_set",
        "store.moved",
        "store.weighted",
        "token.issued",
        "token.revoked",
    }
)
"""Every action that is put on record. An entry of any other cannot be made."""
OUTCOMES = frozenset({"done", "refused"})
SAFE_INT_MAX = 2**53 - 1  # RFC 7493: beyond it a reader in another language may see another number
LEAF_PREFIX = b"\x00"  # RFC 6962, 2.1: no inner node has the hash of a leaf


def entry(
    now: Instant,
    principal: Principal,
    action: str,
    place: tuple[StoreId | None, str],
    outcome: str,
    correlation: CorrelationId,
    **detail: Json,
) -> AuditEntry:
    """What `principal` did at `place` (the store, None for the installation, and the object). Bug CD6020 for an action
    or outcome that is not in the table, or a detail that has no canonical bytes."""
    if action not in ACTIONS or outcome not in OUTCOMES:
        raise _unfit("its action or outcome is not in the table")
    store, what = place
    made = AuditEntry(now, principal.name, action, store, what, outcome, correlation, detail)
    canonical(made)  # refused before anything is written, not when somebody proves the record
    return made


def canonical(made: AuditEntry) -> bytes:
    """The entry as canonical JSON. `seq` is left out: it is a place in a log, and a log's proof binds the place.

    Bug CD6020 for a float, an integer beyond 2^53 - 1, or text that is not Unicode.
    """
    document: Json = {
        "action": made.action,
        "actor": made.actor,
        "at": made.at,
        "correlation_id": made.correlation_id,
        "detail": made.detail,
        "object": made.object,
        "outcome": made.outcome,
        "store": made.store,
    }
    text = json.dumps(_ordered(document), separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _unfit("a text in it is not Unicode") from None


def leaf(made: AuditEntry) -> bytes:
    """The 32 bytes that stand for the entry in a Merkle tree: SHA-256(0x00 || canonical bytes), RFC 6962, 2.1."""
    return hashlib.sha256(LEAF_PREFIX + canonical(made)).digest()


def _ordered(value: Json) -> Json:
    """The same value, its keys in the order of their UTF-16 code units (RFC 8785, 3.2.3)."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, list):
        return [_ordered(one) for one in value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > SAFE_INT_MAX):
        raise _unfit("a number in it is no integer that every reader reads alike")
    return value


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _unfit(why: str) -> Bug:
    return Bug("CD6020", f"An audit entry cannot be made: {why}.", remedy="Run `crossdock explain CD6020`.")
