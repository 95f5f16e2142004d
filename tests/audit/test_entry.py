"""Audit entries: a closed list of actions, and bytes that anybody can compute again."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.audit.entry import ACTIONS, OUTCOMES, SAFE_INT_MAX, canonical, entry, leaf
from crossdock.model.connection import AuditEntry, Principal, Role
from crossdock.model.errors import Bug
from crossdock.model.ids import CorrelationId, Instant, StoreId
from crossdock.stores.connection_desk import DONE

SOURCE = Path(__file__).resolve().parents[2] / "src" / "crossdock"
NOW = Instant(1_760_000_000_000)
ADA = Principal("token:ada", Role.STORE_ADMIN, StoreId("north"))
NORTH = (StoreId("north"), "con_1")
COR = CorrelationId("cor-1")

whole = st.integers(-SAFE_INT_MAX, SAFE_INT_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | whole | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
details = st.dictionaries(texts, values, max_size=5)


def made(**detail: Any) -> AuditEntry:
    return entry(NOW, ADA, "credential.set", NORTH, "done", COR, **detail)


def test_an_entry_says_who_did_what_where_and_how_it_ended() -> None:
    one = made(version=2, hosts=["a.example"])
    assert one == AuditEntry(
        at=NOW,
        actor="token:ada",
        action="credential.set",
        store=StoreId("north"),
        object="con_1",
        outcome="done",
        correlation_id=COR,
        detail={"version": 2, "hosts": ["a.example"]},
    )


def test_the_canonical_bytes_are_these() -> None:
    one = made(b=[1, None, True], a={"é": '\u0007\n"\\/', "z": -1})
    assert canonical(one).decode() == (
        '{"action":"credential.set","actor":"token:ada","at":1760000000000,"correlation_id":"cor-1",'
        '"detail":{"a":{"z":-1,"é":"\\u0007\\n\\"\\\\/"},"b":[1,null,true]},'
        '"object":"con_1","outcome":"done","store":"north"}'
    )


def test_keys_stand_in_the_order_of_rfc_8785() -> None:
    """The example of section 3.2.3: by UTF-16 code units, where a surrogate pair sorts before U+FB33."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    text = canonical(made(**dict.fromkeys(keys, 0))).decode()
    order = sorted(keys, key=lambda key: text.index(json.dumps(key, ensure_ascii=False)))
    assert order == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_a_leaf_is_that_of_rfc_6962() -> None:
    one = made()
    assert leaf(one) == hashlib.sha256(b"\x00" + canonical(one)).digest()
    assert leaf(one) != hashlib.sha256(canonical(one)).digest()


@given(details)
def test_the_bytes_read_back_to_the_entry_and_do_not_depend_on_the_order(detail: dict[str, Any]) -> None:
    one = replace(made(), detail=detail)
    turned = replace(one, detail=dict(reversed(detail.items())))
    assert canonical(one) == canonical(turned)
    read = json.loads(canonical(one))
    assert read.pop("detail") == detail
    assert read == {name: getattr(one, name) for name in read}
    # A row comes back from the database through JSON: its leaf must not change by that.
    assert leaf(replace(one, detail=json.loads(json.dumps(detail)))) == leaf(one)


def test_every_field_but_the_number_counts() -> None:
    one = made(version=1)
    other = {
        "at": Instant(NOW + 1),
        "actor": "token:eve",
        "action": "credential.dropped",
        "store": None,
        "object": "con_2",
        "outcome": "refused",
        "correlation_id": CorrelationId("cor-2"),
        "detail": {"version": 2},
    }
    assert set(other) | {"seq"} == {field.name for field in fields(AuditEntry)}
    leaves = {leaf(replace(one, **{name: value})) for name, value in other.items()}
    assert len(leaves | {leaf(one)}) == len(other) + 1
    assert leaf(replace(one, seq=7)) == leaf(one)


@pytest.mark.parametrize(
    "bad",
    [1.0, float("nan"), [0.5], {"x": 1e9}, SAFE_INT_MAX + 1, -SAFE_INT_MAX - 1, "\ud800", {"\udfff": 1}],
    ids=repr,
)
def test_what_has_no_canonical_bytes_is_refused_before_it_is_written(bad: Any) -> None:
    with pytest.raises(Bug) as caught:
        made(detail=bad)
    assert caught.value.code == "CD6020"


@pytest.mark.parametrize(("action", "outcome"), [("credential.read", "done"), ("", "done"), ("core.set", "maybe")])
def test_an_action_or_outcome_beyond_the_table_is_refused(action: str, outcome: str) -> None:
    with pytest.raises(Bug) as caught:
        entry(NOW, ADA, action, NORTH, outcome, COR)
    assert caught.value.code == "CD6020"


def actions_in_use() -> set[str]:
    """What the use cases put on record: the text after `act` in `commit(act, ...)`, and the gatekeeper's entry."""
    found = {f"connection.{done}" for done in DONE.values()}
    for path in sorted((SOURCE / "stores").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at = {"commit": 1, "entry": 2}.get(name, 99)
            if len(node.args) > at and isinstance(given := node.args[at], ast.Constant):
                found.add(str(given.value))
    return found


def test_the_table_is_exactly_what_is_put_on_record() -> None:
    assert actions_in_use() == ACTIONS
    assert {"done", "refused"} == OUTCOMES


def test_entries_are_made_in_one_place() -> None:
    """Engines read rows back into entries, and the test kit makes samples: nobody else calls the constructor."""
    engines, kit = {"sqlite", "postgres"}, {"samples.py", "world/stage.py"}
    allowed = {"audit/entry.py"} | {f"engines/{one}/registry.py" for one in engines} | {f"testing/{one}" for one in kit}
    calling = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AuditEntry"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert calling <= allowed
