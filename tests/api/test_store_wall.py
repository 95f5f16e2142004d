"""The store wall: every operation of the API's own document, tried by one store's token against the other store.

A new operation is covered by itself: its parameters are filled by name. No byte of the other store may come back, and
a foreign id is answered exactly as an unknown one, but for the correlation id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.house import NORTH, SOUTH, Answer, House, furnish, house_in, settings_in

METHODS = ("get", "post", "put", "patch", "delete")
CANARY = "canary-of-the-south"
UNKNOWN_CONNECTION = "con_00000000000000000000000000"
UNKNOWN_TOKEN = "0" * 26


class Wall:
    def __init__(self, house: House) -> None:
        self.house = house
        self.document = house.ok("GET", "/openapi.json")
        self.mine = furnish(house, NORTH)
        self.theirs = furnish(house, SOUTH, CANARY)
        label = {"integration": "orders.generic", "label": CANARY}
        house.ok("POST", f"/v1/stores/{SOUTH}/connections", label)
        self.token = house.token_of("store_admin", NORTH)
        foreign = house.ok("POST", "/v1/tokens", {"role": "store_viewer", "store": SOUTH, "label": CANARY})
        self.foreign_token = foreign["id"]
        self.event = f"{CANARY}-event"
        core = house.token_of("core", SOUTH)
        event = {
            "specversion": "1.0",
            "id": self.event,
            "source": f"/{CANARY}",
            "type": "product.changed",
            "data": {"sku": CANARY, "revision": 1},
        }
        kept = house.call(
            "POST", f"/v1/stores/{SOUTH}/events", event, core, {"content-type": "application/cloudevents+json"}
        )
        assert kept.status == 202, kept.raw

    def values(self, *, foreign: bool) -> dict[str, str]:
        """What stands for each parameter: of the other store, or of nobody."""
        if foreign:
            return {
                "store": SOUTH,
                "connection": self.theirs,
                "route": "order-in",
                "name": "signing_secret",
                "token": self.foreign_token,
                "event_id": self.event,
                "integration": "orders.generic",
            }
        return {
            "store": "nobody",
            "connection": UNKNOWN_CONNECTION,
            "route": "order-in",
            "name": "signing_secret",
            "token": UNKNOWN_TOKEN,
            "event_id": "no-such-event",
            "integration": "orders.generic",
        }

    def body_of(self, operation: dict[str, Any], values: dict[str, str]) -> Any:
        content = operation.get("requestBody", {}).get("content", {})
        schema = next(iter(content.values()), {}).get("schema") if content else None
        return None if schema is None else self.sample(schema, values)

    def sample(  # noqa: C901  # one case per kind of schema
        self, schema: dict[str, Any], values: dict[str, str], name: str = ""
    ) -> Any:
        if "$ref" in schema:
            return self.sample(self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], values)
        if "anyOf" in schema:
            return self.sample(schema["anyOf"][0], values, name)
        if name in values and schema.get("type") == "string":
            return values[name]
        for known in ("const", "default"):
            if known in schema:
                return schema[known]
        if "enum" in schema:
            return "store_viewer" if "store_viewer" in schema["enum"] else schema["enum"][0]
        match schema.get("type"):
            case "object":
                wanted = {*schema.get("required", ()), *({"store"} & set(schema.get("properties", {})))}
                return {one: self.sample(schema["properties"][one], values, one) for one in sorted(wanted)}
            case "array":
                return []
            case "integer":
                return max(1, schema.get("minimum", 1))
            case "boolean":
                return True
            case _:
                return "sample"

    def tries(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self.document["paths"].items():
            for method in METHODS:
                if method in operations:
                    yield method.upper(), path, operations[method]

    def asked(self, method: str, path: str, operation: dict[str, Any], values: dict[str, str]) -> Answer:
        filled = re.sub(r"{(\w+)}", lambda found: values[found.group(1)], path)
        headers = {"x-correlation-id": "wall-00000001"}
        kind = next(iter(operation.get("requestBody", {}).get("content", {})), None)
        if kind is not None:
            headers["content-type"] = kind
        return self.house.call(method, filled, self.body_of(operation, values), self.token, headers)


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    with house_in(settings_in(tmp_path_factory.mktemp("wall"))) as house:
        yield Wall(house)


def names(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path))


def test_every_parameter_of_the_document_can_be_filled(wall: Wall) -> None:
    known = set(wall.values(foreign=True))
    unknown = {(path, name) for _, path, _ in wall.tries() for name in names(path) - known}
    assert not unknown, f"Say in Wall.values what stands for these: {unknown}"


def test_a_foreign_id_is_answered_exactly_as_an_unknown_one(wall: Wall) -> None:
    tried = 0
    for method, path, operation in wall.tries():
        both = [wall.body_of(operation, wall.values(foreign=foreign)) for foreign in (True, False)]
        if not names(path) - {"integration"} and (both[0] == both[1] or method + path == "POST/v1/stores"):
            continue  # it names nobody; and a new store's id says whether it is free, to those who create stores
        foreign = wall.asked(method, path, operation, wall.values(foreign=True))
        unknown = wall.asked(method, path, operation, wall.values(foreign=False))
        what = f"{method} {path}"
        assert foreign.status == unknown.status, (what, foreign.raw, unknown.raw)
        assert foreign.status in {401, 404}, (what, foreign.raw)
        assert _shape(foreign) == _shape(unknown), what
        tried += 1
    assert tried >= 20


def _shape(answer: Answer) -> tuple[Any, ...]:
    """All that a caller sees, without the date and the correlation id."""
    raw = re.sub(rb'"correlation_id":"[^"]*"', b"", answer.raw)
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-correlation-id"}}
    return answer.status, tuple(sorted(headers.items())), raw


def test_my_own_store_with_a_foreign_id_is_answered_as_an_unknown_one(wall: Wall) -> None:
    for method, path, operation in wall.tries():
        if "store" not in names(path) or len(names(path)) == 1:
            continue
        foreign = wall.asked(method, path, operation, {**wall.values(foreign=True), "store": NORTH})
        unknown = wall.asked(method, path, operation, {**wall.values(foreign=False), "store": NORTH})
        assert _shape(foreign) == _shape(unknown), f"{method} {path}"
        assert foreign.status == 404, (method, path, foreign.raw)


def test_no_byte_of_the_other_store_comes_back(wall: Wall) -> None:
    mine = {**wall.values(foreign=True), "store": NORTH, "connection": wall.mine}
    for method, path, operation in wall.tries():
        for values in (wall.values(foreign=True), mine, {**wall.values(foreign=True), "store": NORTH}):
            if method == "DELETE" and values["token"] != wall.foreign_token:
                continue
            answer = wall.asked(method, path, operation, values)
            seen = answer.raw + json.dumps(answer.headers).encode()
            echoed = values["event_id"].encode()
            assert CANARY.encode() not in seen.replace(echoed, b""), f"{method} {path}"
            assert wall.theirs.encode() not in seen, f"{method} {path}"


def test_without_a_token_nothing_is_told(wall: Wall) -> None:
    for method, path, operation in wall.tries():
        if path.startswith("/in/"):
            continue
        filled = re.sub(r"{(\w+)}", lambda found: wall.values(foreign=True)[found.group(1)], path)
        answer = wall.house.call(method, filled, wall.body_of(operation, {}), token="cdt_wrong")
        assert answer.status == 401, (method, path, answer.raw)


def test_every_operation_says_what_authority_it_asks_for(wall: Wall) -> None:
    silent = {
        path for _, path, operation in wall.tries() if "x-crossdock-action" not in operation and path[:4] != "/in/"
    }
    assert silent == set()
