"""A connection's configuration, checked against its contract's closed schema, with defaults filled in."""

from __future__ import annotations

from crossdock.contracts.schemas import compiled
from crossdock.model.contract import Contract
from crossdock.model.errors import Invalid
from crossdock.model.ids import Json, JsonObject


def check_config(contract: Contract, config: JsonObject) -> JsonObject:
    """A new object with defaults filled in; Invalid (CD2005) naming pointers, never values."""
    full = with_defaults(contract.config, config)
    problems = compiled(contract.config).problems(full)
    if problems:
        where = [f"{problem.pointer or '/'} ({problem.rule})" for problem in problems]
        raise Invalid(
            "CD2005",
            f"The configuration does not fit {contract.ref}: {', '.join(where)}.",
            where=problems[0].pointer or "/",
            remedy=f"Keys: {', '.join(properties_of(contract.config)) or 'none'}.",
            facts={"contract": contract.ref, "problems": where},
        )
    return full


def properties_of(schema: JsonObject) -> dict[str, JsonObject]:
    """The properties of an object schema; empty where it has none."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: value for name, value in properties.items() if isinstance(value, dict)}


def with_defaults(schema: JsonObject, config: JsonObject) -> JsonObject:
    full: JsonObject = dict(config)
    for name, inner in properties_of(schema).items():
        if name not in full and "default" in inner:
            full[name] = inner["default"]
        value: Json = full.get(name)
        if isinstance(value, dict):
            full[name] = with_defaults(inner, value)
    return full
