"""The whole life of a connection, over a real socket."""

from __future__ import annotations

import json

from api.house import NORTH, House, furnish

SECRET = "whsec_cGxhbnRlZC1jYW5hcnktOGQxZi1pcy1sb25nLWVub3VnaA=="


def test_the_whole_life_of_a_connection(house: House) -> None:
    name = furnish(house, NORTH, SECRET)
    base = f"/v1/stores/{NORTH}/connections/{name}"
    first = house.ok("GET", base)
    assert (first["state"], first["revision"]) == ("draft", 1)
    assert house.call("POST", f"{base}/enable", {}).status == 409
    assert house.ok("GET", f"{base}/needs")["ready"]
    assert house.ok("POST", f"{base}/validate", {})["state"] == "validated"
    assert house.ok("POST", f"{base}/enable")["state"] == "enabled"
    assert [one["closes"] for one in house.ok("GET", f"/v1/stores/{NORTH}/lanes")["items"]] == [True]
    assert house.ok("POST", f"{base}/pause", {"reason": "a holiday"})["reason"] == "a holiday"
    assert house.ok("POST", f"{base}/resume")["state"] == "enabled"
    changed = house.ok("PUT", f"{base}/config", {"config": first["config"]})
    assert changed["revision"] == 2
    back = house.ok("POST", f"{base}/rollback", {"revision": 1})
    assert (back["revision"], back["state"]) == (1, "enabled")
    revisions = house.ok("GET", f"{base}/revisions")["items"]
    assert [(one["number"], one["in_force"]) for one in revisions] == [(1, True), (2, False)]
    assert json.dumps(back["config"]) == json.dumps(first["config"])
    assert house.ok("POST", f"{base}/disable")["state"] == "disabled"
    actions = [one["action"] for one in house.ok("GET", f"/v1/stores/{NORTH}/audit")["items"]]
    assert actions[-1] == "connection.disabled"
    assert "connection.rolled_back" in actions


def test_a_stores_weight_is_set_by_the_platform_alone(house: House) -> None:
    furnish(house, NORTH, SECRET)
    path = f"/v1/stores/{NORTH}/weight"
    assert house.ok("PUT", path, {"weight": 4})["weight"] == 4
    assert house.ok("GET", f"/v1/stores/{NORTH}")["weight"] == 4
    for bad in (0, 17, "4", 1.5):
        assert house.call("PUT", path, {"weight": bad}).status == 422


def test_a_secret_never_comes_back(house: House) -> None:
    furnish(house, NORTH, SECRET)
    house.ok("PUT", f"/v1/stores/{NORTH}/core", {"mode": "push", "url": "https://core.example/x", "secret": SECRET})
    paths = [f"/v1/stores/{NORTH}{tail}" for tail in ("", "/core", "/connections", "/lanes", "/audit")]
    for connection in house.ok("GET", f"/v1/stores/{NORTH}/connections")["items"]:
        base = f"/v1/stores/{NORTH}/connections/{connection['id']}"
        paths += [base, f"{base}/credentials", f"{base}/revisions", f"{base}/needs"]
    for path in [*paths, "/v1/audit", "/v1/tokens", "/v1/doctor", "/metrics"]:
        answer = house.call("GET", path)
        assert answer.status == 200, (path, answer.raw)
        assert SECRET.encode() not in answer.raw, path


def test_a_bad_body_is_told_by_pointer_and_never_by_value(house: House) -> None:
    answer = house.call("POST", "/v1/stores", {"id": SECRET + "!", "surplus": SECRET})
    assert answer.status == 422
    assert {one["pointer"] for one in answer.json["problems"]} == {"/id", "/surplus"}
    assert SECRET.encode() not in answer.raw
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_no_json_is_refused_before_anything(house: House) -> None:
    for bad in (b"{", b'{"id": NaN}', b"\xff", b"[" * 10_000):
        assert house.call("POST", "/v1/stores", bad).status == 400


def test_a_body_beyond_the_bound_is_refused(house: House) -> None:
    assert house.call("POST", "/v1/stores", b" " * 300_000).status == 413


def test_the_same_store_twice_is_a_conflict(house: House) -> None:
    house.ok("POST", "/v1/stores", {"id": "twice"})
    again = house.call("POST", "/v1/stores", {"id": "twice"})
    assert (again.status, again.json["code"]) == (409, "CD3003")


def test_a_correlation_id_is_kept_if_it_is_sound_and_made_if_not(house: House) -> None:
    given = house.call("GET", "/v1/stores", headers={"x-correlation-id": "mine-0001"})
    assert given.headers["x-correlation-id"] == "mine-0001"
    made = house.call("GET", "/v1/stores", headers={"x-correlation-id": "a b<c>"})
    assert made.headers["x-correlation-id"] != "a b<c>"


def test_a_revoked_token_is_refused_at_once(house: House) -> None:
    made = house.ok("POST", "/v1/tokens", {"role": "platform_auditor"})
    assert house.call("GET", "/v1/stores", token=made["token"]).status == 200
    house.ok("DELETE", f"/v1/tokens/{made['id']}")
    assert house.call("GET", "/v1/stores", token=made["token"]).status == 401


def test_a_payload_is_for_the_stores_people_alone_and_on_the_record(house: House) -> None:
    furnish(house, NORTH, SECRET)
    core = house.token_of("core", NORTH)
    event = {
        "specversion": "1.0",
        "id": "evt-view",
        "source": "/shop",
        "type": "product.changed",
        "data": {"sku": "A-1", "revision": 1},
    }
    kind = {"content-type": "application/cloudevents+json"}
    assert house.call("POST", f"/v1/stores/{NORTH}/events", event, core, kind).status == 202
    path = f"/v1/stores/{NORTH}/events/evt-view"
    assert house.ok("GET", path)["items"][0]["type"] == "product.changed"
    assert house.call("GET", f"{path}/data").status == 403
    viewer = house.token_of("store_viewer", NORTH)
    assert house.ok("GET", f"{path}/data", token=viewer)["items"][0]["data"] == event["data"]
    actions = [one["action"] for one in house.ok("GET", f"/v1/stores/{NORTH}/audit?limit=200")["items"]]
    assert "event.viewed" in actions


def test_a_refusal_of_authority_is_on_the_record(house: House) -> None:
    furnish(house, NORTH, SECRET)
    viewer = house.token_of("store_viewer", NORTH)
    assert (
        house.call("POST", f"/v1/stores/{NORTH}/connections", {"integration": "orders.generic"}, viewer).status == 403
    )
    refused = [
        one for one in house.ok("GET", f"/v1/stores/{NORTH}/audit?limit=200")["items"] if one["outcome"] == "refused"
    ]
    assert refused[-1]["object"] == "connection.create"


def test_the_reference_loads_nothing_from_elsewhere(house: House) -> None:
    page = house.call("GET", "/docs", token="none")
    assert page.status == 200
    assert b"<script" not in page.raw
    assert b"://" not in page.raw.replace(b"https://", b"") or b"src=" not in page.raw
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_it_is_ready_and_counts(house: House) -> None:
    assert house.call("GET", "/healthz", token="").status == 200
    assert house.call("GET", "/readyz", token="").json["ready"] is True
    text = house.call("GET", "/metrics", token="").raw.decode()
    assert "crossdock_lanes " in text
    assert NORTH not in text
