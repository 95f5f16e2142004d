from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossdock.model.connection import Principal, Role
from crossdock.model.errors import Forbidden, NotFound
from crossdock.model.ids import CorrelationId
from crossdock.model.limits import MINUTE_MS
from crossdock.stores.authority import REFUSALS_PER_MINUTE_MAX, RIGHTS, Action, Gatekeeper, allow, grants, scope_fits
from stores.counter import NORTH, SOUTH, Counter

SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "authority.txt"
HELD = {
    Role.PLATFORM_ADMIN: None,
    Role.PLATFORM_AUDITOR: None,
    Role.STORE_ADMIN: NORTH,
    Role.STORE_VIEWER: NORTH,
    Role.CORE: NORTH,
}


def printed() -> str:
    """A row per action; per role three marks: its own store, another store, the installation."""
    head = f"{'action':24}" + "".join(f"{role:18}" for role in Role)
    rows = [head.rstrip(), "(own store, other store, installation; platform roles hold every store)"]
    for action in Action:
        cells = []
        for role in Role:
            who = Principal("x", role, HELD[role])
            cells.append("".join("x" if allow(who, action, store) else "." for store in (NORTH, SOUTH, None)))
        rows.append((f"{action:24}" + "".join(f"{cell:18}" for cell in cells)).rstrip())
    return "\n".join(rows) + "\n"


def test_the_table_is_the_one_that_was_agreed() -> None:
    if os.environ.get("CROSSDOCK_ACCEPT_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(printed(), encoding="utf-8")
    assert printed() == SNAPSHOT.read_text(encoding="utf-8"), (
        "Who may do what has changed. If that is meant: CROSSDOCK_ACCEPT_SNAPSHOTS=1 pytest tests/stores"
    )


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("role", list(Role))
def test_every_cell_holds_within_scope_and_nowhere_else(role: Role, action: Action) -> None:
    mine = Principal("x", role, HELD[role])
    has = action in RIGHTS[role]
    everywhere = HELD[role] is None
    assert allow(mine, action, NORTH) is has
    assert allow(mine, action, SOUTH) is (has and everywhere)
    assert allow(mine, action, None) is (has and (everywhere or action is Action.INTEGRATION_READ))


@pytest.mark.parametrize("action", list(Action))
def test_a_role_in_the_wrong_scope_may_do_nothing_to_a_store(action: Action) -> None:
    for role, store in ((Role.STORE_ADMIN, None), (Role.STORE_VIEWER, None), (Role.PLATFORM_ADMIN, NORTH)):
        assert not scope_fits(role, store)
        assert not allow(Principal("x", role, store), action, NORTH)


def test_platform_roles_never_see_a_payload() -> None:
    for role in (Role.PLATFORM_ADMIN, Role.PLATFORM_AUDITOR):
        assert RIGHTS[role].isdisjoint({Action.EVENT_VIEW, Action.EVENT_PUBLISH, Action.INBOX_CONSUME})


def test_an_auditor_changes_nothing() -> None:
    assert all(action.endswith((".read", ".list")) for action in RIGHTS[Role.PLATFORM_AUDITOR])


def test_a_store_admin_grants_within_its_store_alone() -> None:
    admin = Principal("x", Role.STORE_ADMIN, NORTH)
    assert grants(admin, Role.STORE_VIEWER, NORTH)
    assert grants(admin, Role.CORE, NORTH)
    for role, store in (
        (Role.STORE_VIEWER, SOUTH),
        (Role.CORE, None),
        (Role.PLATFORM_ADMIN, None),
        (Role.PLATFORM_AUDITOR, None),
    ):
        assert not grants(admin, role, store)


async def test_a_foreign_store_is_not_there_and_a_wrong_role_is_told(counter: Counter) -> None:
    gatekeeper = Gatekeeper(counter.engine.registry, counter.clock)
    viewer = Principal("token:v", Role.STORE_VIEWER, NORTH)
    with pytest.raises(NotFound, match="CD3004"):
        await gatekeeper.require(viewer, Action.CONNECTION_READ, SOUTH, CorrelationId("c1"))
    with pytest.raises(Forbidden, match="CD3021"):
        await gatekeeper.require(viewer, Action.CONNECTION_ENABLE, NORTH, CorrelationId("c2"))
    found = [one for one in await counter.engine.registry.audit(NORTH, 0, 100) if one.outcome == "refused"]
    assert [(one.object, one.correlation_id) for one in found] == [
        ("connection.read", "c1"),
        ("connection.enable", "c2"),
    ]


async def test_a_loop_of_refusals_does_not_fill_the_record(counter: Counter) -> None:
    gatekeeper = Gatekeeper(counter.engine.registry, counter.clock)
    viewer = Principal("token:v", Role.STORE_VIEWER, NORTH)

    async def refused() -> int:
        for _ in range(50):
            with pytest.raises(Forbidden):
                await gatekeeper.require(viewer, Action.CONNECTION_ENABLE, NORTH, CorrelationId("c"))
        return len([one for one in await counter.engine.registry.audit(NORTH, 0, 200) if one.outcome == "refused"])

    assert await refused() == REFUSALS_PER_MINUTE_MAX
    counter.clock.forward(MINUTE_MS)
    assert await refused() == 2 * REFUSALS_PER_MINUTE_MAX
