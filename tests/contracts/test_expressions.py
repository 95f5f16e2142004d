"""Expressions, templates, schemas and configuration."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossdock.contracts.catalogue import Catalogue
from crossdock.contracts.config import check_config
from crossdock.contracts.events import event_schema
from crossdock.contracts.expressions import check, evaluate, fill, fill_path, predicate
from crossdock.contracts.functions import NAMES
from crossdock.contracts.schemas import Problem, compiled, validate
from crossdock.model.errors import Invalid

CATALOGUE = Catalogue.shipped()


@pytest.mark.parametrize(
    ("expression", "document", "result"),
    [
        ("to_minor_units(a, 'EUR')", {"a": 12.345}, 1235),
        ("to_minor_units(a, 'JPY')", {"a": "1200"}, 1200),
        ("to_minor_units(a, 'KWD')", {"a": "1.2345"}, 1235),
        ("to_decimal_string(a, `2`)", {"a": 0.1}, "0.10"),
        ("to_amount(a)", {"a": "41.50"}, 41.5),
        ("to_amount(a)", {"a": None}, None),
        ("iso_date(a)", {"a": "2026-03-01T23:30:00-05:00"}, "2026-03-02"),
        ("utc_time(a)", {"a": "2026-03-01T05:00:00-05:00"}, "2026-03-01T10:00:00Z"),
        ("upper(a)", {"a": "de"}, "DE"),
        ("lower(a)", {}, None),
        ("trim(a)", {"a": "  "}, None),
        ("truncate(a, `2`)", {"a": "abc"}, "ab"),
        ("minus(a, `2`)", {"a": 5}, 3),
        ("compact({a: a, b: {c: b}})", {"a": 1}, {"a": 1}),
    ],
)
def test_a_named_function_says_what_it_does(expression: str, document: dict, result: object) -> None:
    check(expression, 500)
    assert evaluate(expression, document) == result


def test_there_are_at_most_a_dozen_named_functions() -> None:
    assert len(NAMES) <= 12


@pytest.mark.parametrize("expression", ["a ==", "eval(a)", "a" * 501, "[" * 20 + "a" + "]" * 20, "((((", "length(length(length(length(length(length(length(length(length(length(length(length(a))))))))))))"])  # fmt: skip  # noqa: E501
def test_an_unsound_expression_is_refused(expression: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(expression, 500)
    assert refused.value.code == "CD2002"


@given(st.text(max_size=60))
def test_checking_any_text_passes_or_refuses(text: str) -> None:
    try:
        check(text, 500)
    except Invalid:
        with pytest.raises(Invalid, match="CD2002"):
            check(text, 500)


@pytest.mark.parametrize("document", [{"a": "no date"}, {"a": 5}, {"a": "9" * 500}])
def test_a_value_that_cannot_be_mapped_is_refused_without_showing_it(document: dict) -> None:
    with pytest.raises(Invalid) as refused:
        evaluate("utc_time(a)", document)
    assert refused.value.code == "CD2003"
    assert str(document["a"]) not in str(refused.value)


def test_a_condition_holds_only_where_it_yields_true() -> None:
    assert predicate("a == `1`", {"a": 1})
    assert not predicate("a", {"a": "yes"})
    assert not predicate("b", {"a": 1})


def test_a_template_is_filled_from_nested_names() -> None:
    names = {"a": "x", "total": {"amount": 3.5, "n": 2}, "on": True}
    assert fill("{a} {total.amount} {total.n} {on}", names) == "x 3.5 2 true"
    assert fill("{a}", {"a": "{b}"}) == "{b}"
    with pytest.raises(Invalid):
        fill("{total}", names)
    with pytest.raises(Invalid):
        fill("{missing}", names)


@given(st.text(max_size=20))
@example("a/b")
@example("../x")
@example("a?b#c")
@example("a%2Fb")
@example("é\r\n")
def test_a_value_stays_one_segment_of_a_path(value: str) -> None:
    try:
        path = fill_path("/v3/items/{sku}", {"sku": value})
    except Invalid:
        assert value in ("", ".", "..")
        return
    assert path.count("/") == 3
    assert not set(path) & set("?#\\ \r\n")
    assert path.isascii()


def test_problems_name_pointers_and_keywords_only() -> None:
    schema = CATALOGUE.schemas["order.received", 1].document
    found = validate(schema, {"order_id": 7, "lines": [{"sku": "a", "qty": 0}], "buyer": {"email": "secret value"}})
    assert found == [
        Problem("/buyer/email", "format"),
        Problem("/lines/0/qty", "minimum"),
        Problem("/order_id", "type"),
    ]
    assert validate(schema, {"order_id": "1"}) == [Problem("/lines", "required")]


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "https://schemas.example/x"}, {"$ref": "file:///etc/hosts"}, {"pattern": "(?=a)"}, {"type": "objct"}],
)
def test_a_schema_that_leads_outside_or_cannot_be_bounded_is_refused(schema: dict) -> None:
    with pytest.raises(Invalid) as refused:
        compiled(schema)
    assert refused.value.code == "CD2001"


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"type": "object"}', '{"type": "object", "properties": {}}',
     '{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string"}}}',
     '{"type": "object", "additionalProperties": false, "properties": {"a": {"x-class": "pii"}}}',
     '{"type": "object", "additionalProperties": false, "properties": {"a": {"x-class": "public", "$ref": "#"}}}'],
)  # fmt: skip
def test_an_event_schema_that_leaves_a_class_open_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        event_schema("schemas/a.b@1.json", text)


def test_config_is_closed_and_its_defaults_are_filled_in() -> None:
    acme = CATALOGUE.get("marketplace.acme")
    assert acme is not None
    given_config = {"seller_id": "SELLER0001"}
    assert check_config(acme, given_config) == {"seller_id": "SELLER0001", "auto_publish": False, "safety_stock": 2}
    assert given_config == {"seller_id": "SELLER0001"}
    for wrong in ({}, {"seller_id": "no"}, {"seller_id": "SELLER0001", "url": "https://x.example"}):
        with pytest.raises(Invalid) as refused:
            check_config(acme, wrong)
        assert refused.value.code == "CD2005"
        assert "x.example" not in str(refused.value)
