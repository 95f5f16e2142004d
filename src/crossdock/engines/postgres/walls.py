"""What is let through the walls between stores, each with its reason: one table, for the check at the start and for the
test that reads the catalogues. A table, a column or a key that is not in it is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SCHEMAS: Mapping[str, str] = {
    "crossdock": "the tables of a database, or of a cell",
    "crossdock_directory": "which cell a store is in; in a database of its own, or beside a cell's tables",
}
"""Where tables of ours may be."""

WITHOUT_STORE: Mapping[str, str] = {
    "crossdock.installation": "one row: the counter of the whole installation's log",
    "crossdock.members": "who runs lanes, and until when",
    "crossdock.slots": "which member runs which share of the lanes",
    "crossdock.migrations": "what was applied to the schema",
    "crossdock_directory.migrations": "what was applied to the directory's schema",
}
"""Tables that hold no store's data."""


@dataclass(frozen=True, slots=True)
class Across:
    """A table that can be read, never written, over all stores, by a transaction that names it in `crossdock.scope`.

    `columns` are all that it has: row security hides rows, and no columns. `sensitive` says of those that hold more
    than names, places, counts and states what they hold, and why a look over all stores may see it."""

    why: str
    columns: str
    sensitive: Mapping[str, str] = field(default_factory=dict)


READ_ACROSS: Mapping[str, Across] = {
    "crossdock.stores": Across(
        "the list of stores",
        "store_id name created_at sealed_key weight",
        {
            "sealed_key": "The store's key, which only the root key opens. At the start the root key is tried on the"
            " first store's, whichever that is."
        },
    ),
    "crossdock.journals": Across("which journals have moved", "store_id head conflicts moved_at gate epoch"),
    "crossdock.lanes": Across(
        "which lanes are open, and have something to do; the books of all lanes",
        "store_id connection_id route slot start cursor open closed_head delivered superseded filtered expired erased"
        " replayed skips epoch attempts unresolved",
    ),
    "crossdock.connections": Across(
        "whose a connection is: its address is its id alone",
        "store_id connection_id contract state revision label created_at reason version",
    ),
    "crossdock.tokens": Across(
        "whose a token is, by its id alone; the list of all tokens",
        "store_id token_id digest role label created_at expires_at revoked_at of_store",
        {
            "digest": "The SHA-256 of 32 random bytes, which gives nothing of them away. It is compared with what was"
            " shown before anybody knows the token's store."
        },
    ),
    "crossdock.audit": Across(
        "the whole installation's log, and whose entries are new in it",
        "store_id store_seq seq at actor action object outcome correlation_id detail leaf",
        {
            "detail": "What was done, in names, addresses, counts, digests and the words of whoever did it: never a"
            " payload or a secret. The platform's own people read the whole log.",
            "leaf": "A hash of the entry.",
        },
    ),
    "crossdock_directory.cells_directory": Across(
        "where the fewest stores are; the list of all homes", "store_id cell epoch claimed"
    ),
}


@dataclass(frozen=True, slots=True)
class Alone:
    """A unique key of a table of stores that leaves the store out; in its place, `columns` are the whole key."""

    columns: str
    why: str


UNIQUE_WITHOUT_STORE: Mapping[str, Alone] = {
    "crossdock.connections.connections_address": Alone(
        "connection_id", "Whoever calls in names the connection alone: two stores cannot have the same address."
    ),
    "crossdock.tokens.tokens_by_id": Alone(
        "token_id", "A token is looked up by its id, before anybody knows its store."
    ),
    "crossdock.audit.audit_by_seq": Alone(
        "seq",
        "The installation's log counts over all stores: of two entries with one number a follower could miss one.",
    ),
}
"""By schema, table and index. Such a key tells a store that a value is taken, and by no more than a refusal: the values
are 130 random bits, or given out by a counter that no store chooses (docs/adr/0017)."""
