"""Keys of people, keyed hashes, and the caches of open keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import opened, store, vault

from crossdock.credentials import vault as module
from crossdock.credentials.seal import SealBroken
from crossdock.model.ids import EventId

EVENT = EventId("e1")


def test_a_subject_key_opens_from_its_wrapped_form() -> None:
    keys = opened("north", vault())
    ref = keys.subject_ref("ada@example.com")
    fresh = keys.new_subject_key(ref)
    sealed = keys.seal_personal(fresh, EVENT, b"Ada")
    again = keys.open_subject_key(ref, fresh.wrapped)
    assert again is not fresh
    assert keys.unseal_personal(again, EVENT, sealed) == b"Ada"
    assert keys.open_subject_key(ref, fresh.wrapped) is again


def test_a_new_key_for_an_erased_person_opens_nothing_old() -> None:
    keys = opened("north", vault())
    ref = keys.subject_ref("ada@example.com")
    old = keys.new_subject_key(ref)
    sealed = keys.seal_personal(old, EVENT, b"Ada")
    keys.open_subject_key(ref, old.wrapped)
    keys.forget_subject(ref)
    anew = keys.new_subject_key(ref)
    with pytest.raises(SealBroken):
        keys.unseal_personal(keys.open_subject_key(ref, anew.wrapped), EVENT, sealed)


def test_a_key_of_one_person_does_not_open_as_anothers() -> None:
    keys = opened("north", vault())
    ada, bob = keys.subject_ref("ada"), keys.subject_ref("bob")
    with pytest.raises(SealBroken):
        keys.open_subject_key(bob, keys.new_subject_key(ada).wrapped)


@pytest.mark.parametrize("same", ["Ada@Example.com", "  ada@example.com\n", "ADA@EXAMPLE.COM"])
def test_a_person_has_one_reference_however_it_is_spelled(same: str) -> None:
    keys = opened("north", vault())
    assert keys.subject_ref(same) == keys.subject_ref("ada@example.com")


def test_composed_and_decomposed_letters_are_one_person() -> None:
    keys = opened("north", vault())
    assert keys.subject_ref("jos\u00e9") == keys.subject_ref("jose\u0301")


@given(st.text(), st.binary())
def test_keyed_hashes_have_their_shapes_and_join_nothing_across_stores(text: str, raw: bytes) -> None:
    held = vault()
    north, south = opened("north", held), opened("south", held)
    assert len(north.subject_ref(text)) == len(north.fingerprint(raw)) == 32
    assert len(bytes.fromhex(north.pepper(text))) == 32
    assert north.subject_ref(text) != south.subject_ref(text)
    assert north.pepper(text) != south.pepper(text)
    assert north.fingerprint(raw) != south.fingerprint(raw)
    assert len({north.subject_ref("x").hex(), north.pepper("x"), north.fingerprint(b"x").hex()}) == 3


def test_a_store_opens_again_to_the_same_hashes() -> None:
    held = vault()
    row = store("north", held)
    before = held.open(row)
    held.forget(row.id)
    after = held.open(row)
    assert after is not before
    assert after.fingerprint(b"x") == before.fingerprint(b"x")
    assert after.unseal_body(EVENT, before.seal_body(EVENT, b"plain")) == b"plain"


def test_open_stores_and_open_people_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORES_OPEN_MAX", 2)
    monkeypatch.setattr(module, "SUBJECTS_OPEN_MAX", 2)
    held = vault()
    rows = [store(name, held) for name in ("a", "b", "c")]
    first = held.open(rows[0])
    for row in rows:
        held.open(row)
    assert held.open(rows[0]) is not first
    keys = held.open(rows[0])
    made = [keys.new_subject_key(keys.subject_ref(name)) for name in ("a", "b", "c")]
    one = keys.open_subject_key(made[0].ref, made[0].wrapped)
    for key in made:
        keys.open_subject_key(key.ref, key.wrapped)
    assert keys.open_subject_key(made[0].ref, made[0].wrapped) is not one
