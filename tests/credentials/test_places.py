"""What is sealed opens at its own place, and nowhere else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import EVENTS, HOSTS, STORES, House, Spot, credential, opened, spot, store, vault

from crossdock.credentials.seal import HEAD_BYTES, SealBroken, Sealer, place
from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import Vault
from crossdock.model.ids import ConnectionId, EventId, Instant, StoreId

SWAPS = 4_000
FLIPS = 3_000


@pytest.fixture(scope="module")
def house() -> House:
    return House()


def opens(house: House, at: Spot, sealed: bytes) -> bool:
    try:
        house.unseal(at, sealed)
    except SealBroken:
        return False
    return True


def test_everything_opens_at_its_place(house: House) -> None:
    dice = random.Random(1)
    for _ in range(500):
        at = spot(dice)
        sealed = house.seal(at, b"plain")
        assert house.unseal(at, sealed) == (b"opened" if at.kind == "subject" else b"plain")


def test_nothing_opens_at_another_place(house: House) -> None:
    """Store, connection, name, hosts, version, event, person and kind, each on its own and together."""
    dice = random.Random(2)
    tried = 0
    while tried < SWAPS:
        here, there = spot(dice), spot(dice)
        if dice.random() < 0.7:  # mostly next door: one thing differs
            moved = {"store": there.store, "version": here.version and dice.randint(1, 3)}
            if here.connection:
                moved |= {"connection": dice.choice(("con_1", "con_12")), "hosts": dice.choice(HOSTS)}
            if here.kind in ("body", "personal"):
                moved |= {"event": dice.choice(EVENTS)}
            name = dice.choice(sorted(moved))
            there = replace(here, **{name: moved[name]})
        if here == there:
            continue
        tried += 1
        assert not opens(house, there, house.seal(here, b"plain")), (here, there)


def test_no_flipped_bit_opens(house: House) -> None:
    dice = random.Random(3)
    for _ in range(FLIPS):
        here = spot(dice)
        sealed = bytearray(house.seal(here, b"plain"))
        sealed[dice.randrange(len(sealed))] ^= 1 << dice.randrange(8)
        assert not opens(house, here, bytes(sealed)), here


def test_no_part_of_a_sealed_value_opens(house: House) -> None:
    dice = random.Random(4)
    for _ in range(200):
        here = spot(dice)
        sealed = house.seal(here, b"plain")
        for length in (0, 1, HEAD_BYTES, len(sealed) - 1, dice.randrange(len(sealed))):
            assert not opens(house, here, sealed[:length]), (here, length)
        assert not opens(house, here, sealed + b"\x00")


def test_nothing_opens_under_another_root_or_another_key_of_the_same_store(house: House) -> None:
    other = House()
    other.vault = vault(99)
    other.rows = {id: store(id, other.vault) for id in STORES}
    other.subjects = {key: other.keys(key[0]).new_subject_key(key[1]) for key in house.subjects}
    dice = random.Random(5)
    for _ in range(500):
        here = spot(dice)
        assert not opens(other, here, house.seal(here, b"plain"))
    with pytest.raises(SealBroken):
        other.vault.open(house.rows["north"])


def test_a_store_key_opens_for_its_own_store_alone() -> None:
    held = vault()
    north = store("north", held)
    with pytest.raises(SealBroken):
        held.open(replace(north, id=StoreId("south")))
    again = Vault.open(held, north)
    assert again is held.open(north)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_two_places_have_the_same_bytes_only_if_they_are_the_same(one: list[str], two: list[str]) -> None:
    assert (place(*one) == place(*two)) is (one == two)


@given(st.binary(max_size=200), st.binary(max_size=40), st.binary(max_size=40))
def test_a_sealer_opens_where_it_sealed(plain: bytes, here: bytes, there: bytes) -> None:
    sealer = Sealer(b"k" * 32, "north", "thing", random.Random(1).randbytes)
    sealed = sealer.seal(plain, here)
    assert sealer.unseal(sealed, here) == plain
    assert len(plain) < 8 or plain not in sealed
    if here != there:
        with pytest.raises(SealBroken):
            sealer.unseal(sealed, there)


def test_the_same_plaintext_is_never_sealed_to_the_same_bytes() -> None:
    keys = opened("north", vault())
    assert len({keys.seal_body(EventId("e1"), b"plain") for _ in range(1_000)}) == 1_000


def test_a_credential_says_that_it_was_entered_for_other_hosts() -> None:
    keys = opened("north", vault())
    row = credential(keys)
    with pytest.raises(SealBroken) as caught:
        keys.unseal_secret(replace(row, hosts=("evil.example",)))
    assert caught.value.code == "CD6002"
    assert "value" not in str(caught.value)


def test_whoever_also_forges_the_mark_of_the_hosts_opens_nothing() -> None:
    """The mark only tells what is wrong; the seal binds the hosts themselves."""
    keys = opened("north", vault())
    mine = keys.seal_secret(ConnectionId("con_1"), "token", ("a.example",), 1, Secret(b"value"))
    theirs = keys.seal_secret(ConnectionId("con_1"), "token", ("evil.example",), 1, Secret(b"bait"))
    forged = replace(credential(keys), sealed=theirs[:12] + mine[12:], hosts=("evil.example",))
    with pytest.raises(SealBroken) as caught:
        keys.unseal_secret(forged)
    assert caught.value.code == "CD6001"


def test_the_order_of_hosts_means_nothing() -> None:
    keys = opened("north", vault())
    sealed = keys.seal_secret(ConnectionId("con_1"), "token", ("a.example", "b.example"), 1, Secret(b"value"))
    row = replace(credential(keys), sealed=sealed, hosts=("b.example", "a.example"))
    assert keys.unseal_secret(row) == Secret(b"value")


def test_a_rotated_credential_opens_now_and_as_the_one_before() -> None:
    keys = opened("north", vault())
    first, second = credential(keys, b"first"), credential(keys, b"second", version=2)
    row = replace(second, previous=first.sealed, previous_until=Instant(5))
    assert keys.unseal_secret(row) == Secret(b"second")
    assert keys.unseal_secret(row, previous=True) == Secret(b"first")


def test_current_and_previous_cannot_change_places() -> None:
    """A row written by hand cannot bring an old credential back into force."""
    keys = opened("north", vault())
    first, second = credential(keys, b"first"), credential(keys, b"second", version=2)
    for row, previous in (
        (replace(second, sealed=first.sealed), False),
        (replace(second, previous=second.sealed), True),
        (replace(first, previous=second.sealed), True),
        (replace(second, previous=None), True),
        (replace(second, store=StoreId("south")), False),
    ):
        with pytest.raises(SealBroken):
            keys.unseal_secret(row, previous=previous)
