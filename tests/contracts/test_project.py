"""Splitting, joining and cutting events by pointers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.contracts.pointers import index_of, tokens_of, written
from crossdock.contracts.project import MISSING, join, minimise, split, unlisted, value_at
from crossdock.model.contract import DataClass, FieldRule, Protect
from crossdock.model.errors import Invalid

NAMES = st.sampled_from(["a", "b", "lines", "note", "x/y", "t~e", "0", "*"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=5)
POINTERS = st.lists(NAMES, min_size=1, max_size=4).map(
    lambda path: "".join("/" + (one if one == "*" else one.replace("~", "~0").replace("/", "~1")) for one in path)
)
CLASSES = st.dictionaries(POINTERS, st.sampled_from(list(DataClass)), max_size=5)
ORDER = {
    "id": "A-1",
    "lines": [{"sku": "X", "note": "for Ann"}, {"sku": "Y"}, {"sku": "Z", "note": "for Bob"}],
    "customer": {"id": "c1", "email": "a@b.example", "country": "DE"},
}


def pepper(text: str) -> str:
    return f"pepper({text})"


@given(EVENTS, CLASSES)
def test_what_is_split_joins_to_what_it_was(event: dict, classes: dict[str, DataClass]) -> None:
    before = repr(event)
    body, personal = split(event, classes)
    assert join(body, personal) == event
    assert repr(event) == before


@given(EVENTS, POINTERS)
def test_nothing_personal_stays_in_the_body(event: dict, pointer: str) -> None:
    body, personal = split(event, {pointer: DataClass.PII})
    for key in personal:
        assert value_at(body, key) in (MISSING, None)


def test_a_personal_part_of_a_list_item_keeps_its_index() -> None:
    classes = {"/lines/*/note": DataClass.PII, "/customer/email": DataClass.SENSITIVE, "/id": DataClass.INTERNAL}
    body, personal = split(ORDER, classes)
    assert personal == {"/lines/0/note": "for Ann", "/lines/2/note": "for Bob", "/customer/email": "a@b.example"}
    assert body["lines"] == [{"sku": "X"}, {"sku": "Y"}, {"sku": "Z"}]
    assert join(body, None) is body


def test_a_personal_list_item_leaves_its_place() -> None:
    body, personal = split({"phones": ["a", "b", None]}, {"/phones/*": DataClass.PII})
    assert body == {"phones": [None, None, None]}
    assert personal == {"/phones/0": "a", "/phones/1": "b", "/phones/2": None}
    assert join(body, personal) == {"phones": ["a", "b", None]}


def test_only_listed_fields_move_and_hashed_ones_are_hashed() -> None:
    fields = (
        FieldRule("/id", DataClass.INTERNAL),
        FieldRule("/lines/*/sku", DataClass.PUBLIC),
        FieldRule("/customer/id", DataClass.PII, Protect.HMAC),
        FieldRule("/absent/deep", DataClass.PUBLIC),
    )
    assert minimise(ORDER, fields, pepper) == {
        "id": "A-1",
        "lines": [{"sku": "X"}, {"sku": "Y"}, {"sku": "Z"}],
        "customer": {"id": "pepper(c1)"},
    }
    assert unlisted(ORDER, fields) == ("/lines/0/note", "/lines/2/note", "/customer/email", "/customer/country")


def test_a_listed_pointer_carries_its_subtree() -> None:
    assert minimise(ORDER, (FieldRule("/customer", DataClass.PII),), pepper) == {"customer": ORDER["customer"]}


@given(EVENTS, st.lists(POINTERS, max_size=4, unique=True))
def test_what_moved_is_always_a_listed_value(event: dict, pointers: list[str]) -> None:
    fields = tuple(FieldRule(pointer, DataClass.PUBLIC) for pointer in pointers)
    moved = minimise(event, fields, pepper)
    assert minimise(moved, fields, pepper) == moved
    assert set(moved) <= {tokens_of(pointer)[0] for pointer in pointers}
    if not unlisted(event, fields):
        assert set(moved) <= set(event)


@given(st.lists(st.text(max_size=5), max_size=4))
def test_a_pointer_is_read_as_it_was_written(tokens: list[str]) -> None:
    assert tokens_of(written(tokens)) == tuple(tokens)


# RFC 6901, section 5
DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", DOCUMENT), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
     ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8), ("/foo/2", MISSING), ("/foo/-", MISSING)],
)  # fmt: skip
def test_pointers_lead_where_the_rfc_says(pointer: str, value: object) -> None:
    assert value_at(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["a", "/a~", "/a~2"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(Invalid):
        tokens_of(pointer)


def test_an_index_has_no_sign_and_no_leading_zero() -> None:
    assert [index_of(text, 20) for text in ("0", "19", "20", "01", "-1", "+1", "\u0661")] == [
        0,
        19,
        None,
        None,
        None,
        None,
        None,
    ]
