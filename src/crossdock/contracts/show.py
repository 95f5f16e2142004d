"""A contract told in plain data, for the CLI, the API and an auditor: what moves, where to, under which class."""

from __future__ import annotations

from crossdock.model.contract import Contract, Destination, Direction, Route
from crossdock.model.ids import Json, JsonObject


def show(contract: Contract) -> JsonObject:
    """JSON-ready. `routes[].fields` lists every field that leaves or enters; there are no others."""
    return {
        "id": contract.id,
        "version": contract.version,
        "status": str(contract.status),
        "title": contract.title,
        "summary": contract.summary,
        "purpose": str(contract.purpose),
        "owner": str(contract.owner),
        "contact": contract.owner_contact,
        "surface": str(contract.surface),
        "direction": str(contract.direction),
        "scopes": list(contract.scopes),
        "credentials": [
            {"name": slot.name, "secret": slot.secret, "optional": slot.optional, "rotate_ms": slot.rotate_ms}
            for slot in contract.credentials
        ],
        "destinations": [_destination(one) for one in contract.destinations],
        "config": contract.config,
        "enable_needs": list(contract.lifecycle.enable_needs),
        "routes": [_route(route) for route in contract.routes],
        "digest": contract.digest,
    }


def _destination(one: Destination) -> JsonObject:
    where: JsonObject = {"live": one.live, "sandbox": one.sandbox}
    if one.operator:
        where = {"operator": one.operator}
    elif one.store_url:
        where = {"store_url": one.store_url}
    return {"name": one.name, **where, "methods": list(one.methods), "paths": list(one.paths)}


def _route(route: Route) -> JsonObject:
    verb = "leaves" if route.direction is Direction.OUTBOUND else "enters"
    fields: list[Json] = [
        {
            "pointer": rule.pointer,
            "class": rule.data_class.name.lower(),
            "protect": str(rule.protect) if rule.protect else None,
            "why": rule.why,
        }
        for rule in route.fields
    ]
    return {
        "name": route.name,
        "direction": str(route.direction),
        "driver": route.driver,
        "event": route.event.name,
        "scopes": list(route.scopes),
        "moves": verb,
        "fields": fields,
        "personal": [rule.pointer for rule in route.fields if rule.data_class.personal],
        "ordering": ["store", *route.ordering] if route.ordering else "none",
        "collapse": str(route.collapse),
        "verify": str(route.source.verify) if route.source else None,
    }
