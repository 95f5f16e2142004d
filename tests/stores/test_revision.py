from __future__ import annotations

import pytest

from crossdock.model.connection import CONNECTION_MOVES, Connection, ConnectionSignal, ConnectionState
from crossdock.model.errors import IllegalMove
from crossdock.model.ids import ConnectionId, ContractId, Instant, StoreId
from crossdock.stores.revision import moved, must_be_whole

S, G = ConnectionState, ConnectionSignal
AGREED = """
            configure  validate   enable   pause   resume   disable   rollback
draft       draft      validated  -        -       -        -         draft
validated   draft      validated  enabled  -       -        -         draft
enabled     enabled    -          -        paused  -        disabled  enabled
paused      paused     -          -        -       enabled  disabled  paused
disabled    draft      validated  -        -       -        -         draft
"""


def cells() -> list[tuple[S, G, str]]:
    head, *rows = (line.split() for line in AGREED.strip().splitlines())
    return [(S(row[0]), G(signal), target) for row in rows for signal, target in zip(head, row[1:], strict=True)]


def at(state: S) -> Connection:
    return Connection(ConnectionId("con_x"), StoreId("north"), ContractId("a.b"), state, 1, "", Instant(0), "why", 4)


@pytest.mark.parametrize(("state", "signal", "target"), cells())
def test_every_cell_of_the_table(state: S, signal: G, target: str) -> None:
    if target == "-":
        with pytest.raises(IllegalMove) as refused:
            moved(at(state), signal)
        legal = [str(sign) for start, sign in CONNECTION_MOVES if start is state]
        assert refused.value.facts["legal"] == legal
        return
    after = moved(at(state), signal)
    assert (after.state, after.version) == (S(target), 5)


def test_the_table_is_whole() -> None:
    assert len(cells()) == len(S) * len(G)


@pytest.mark.parametrize(("state", "signal"), sorted(CONNECTION_MOVES))
def test_whatever_leads_to_moving_data_must_be_whole(state: S, signal: G) -> None:
    leads = CONNECTION_MOVES[state, signal] in {S.ENABLED, S.VALIDATED}
    assert must_be_whole(state, signal) is leads
