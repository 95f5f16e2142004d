from __future__ import annotations

import hashlib

import pytest

from crossdock.model.connection import Principal, Role
from crossdock.model.errors import Forbidden, Invalid, NotFound, Unauthenticated
from crossdock.model.ids import CorrelationId
from crossdock.model.limits import DAY_MS, TOKEN_DAYS_MAX
from crossdock.stores.office import Act
from crossdock.stores.tokens import FORM, Tokens, TokenWish
from stores.counter import ADMIN, NORTH, SOUTH, Counter


async def made(counter: Counter, days: int = 7) -> str:
    return (await counter.desk.tokens.issue(ADMIN, TokenWish(Role.STORE_ADMIN, NORTH, "till", days))).text


async def test_a_token_says_who_calls(counter: Counter) -> None:
    text = await made(counter)
    form = FORM.fullmatch(text)
    assert form is not None
    who = await Tokens(counter.engine.registry, counter.clock).bearer(f"Bearer {text}")
    assert who == Principal(f"token:{form.group(1)}", Role.STORE_ADMIN, NORTH)


async def test_only_the_digest_of_the_secret_is_kept(counter: Counter) -> None:
    text = await made(counter)
    secret = text.rsplit("_", 1)[1] if text.count("_") == 2 else text[4 + 26 + 1 :]
    (kept,) = await counter.engine.registry.tokens(NORTH)
    assert kept.digest == hashlib.sha256(secret.encode()).digest()
    audit = await counter.engine.registry.audit(None, 0, 100)
    assert secret not in repr(kept) + repr(audit) + repr(counter.lines)


async def test_every_failure_has_the_same_words(counter: Counter) -> None:
    text = await made(counter)
    tokens = Tokens(counter.engine.registry, counter.clock)
    changed = text[:-1] + ("A" if text[-1] != "A" else "B")
    other = text[:4] + "0" * 26 + text[30:]
    said = set()
    for bad in (
        "",
        "Bearer",
        f"Basic {text}",
        f"Bearer {changed}",
        f"Bearer {other}",
        "Bearer cdt_x_y",
        f"Bearer {text}x",
    ):
        with pytest.raises(Unauthenticated) as refused:
            await tokens.bearer(bad)
        said.add(str(refused.value))
    counter.clock.forward(8 * DAY_MS)
    with pytest.raises(Unauthenticated) as refused:
        await tokens.bearer(f"Bearer {text}")
    said.add(str(refused.value))
    assert len(said) == 1


async def test_an_expiring_token_ends_on_time_though_it_is_cached(counter: Counter) -> None:
    text = await made(counter, days=1)
    tokens = Tokens(counter.engine.registry, counter.clock)
    counter.clock.forward(DAY_MS - 1)
    await tokens.principal(text)
    counter.clock.forward(1)
    with pytest.raises(Unauthenticated):
        await tokens.principal(text)


async def test_a_revoked_token_is_refused_at_once_though_it_is_cached(counter: Counter) -> None:
    text = await made(counter)
    tokens = Tokens(counter.engine.registry, counter.clock)
    await tokens.principal(text)
    (kept,) = await counter.engine.registry.tokens(NORTH)
    await counter.desk.tokens.revoke(ADMIN, kept.id, None)
    with pytest.raises(Unauthenticated):
        await tokens.principal(text)


async def test_another_stores_token_cannot_be_revoked(counter: Counter) -> None:
    await made(counter)
    (kept,) = await counter.engine.registry.tokens(NORTH)
    with pytest.raises(NotFound):
        await counter.desk.tokens.revoke(ADMIN, kept.id, SOUTH)


@pytest.mark.parametrize("days", [0, -1, TOKEN_DAYS_MAX + 1])
async def test_a_life_out_of_bounds_is_refused(counter: Counter, days: int) -> None:
    with pytest.raises(Invalid, match="CD3022"):
        await made(counter, days)


async def test_nobody_grants_more_than_they_may(counter: Counter) -> None:
    act = Act(Principal("token:s", Role.STORE_ADMIN, NORTH), CorrelationId("c"))
    for wish in (TokenWish(Role.CORE, None, "", 1), TokenWish(Role.STORE_ADMIN, SOUTH, "", 1)):
        with pytest.raises(Forbidden, match="CD3021"):
            await counter.desk.tokens.issue(act, wish)
