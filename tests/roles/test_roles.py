from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.floor import BATCH, SECRET, product, receiving, until
from postgres import Estate, House
from roles.yard import Post, Yard, yard_in

ANYWHERE = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
ARRIVALS = {("POST", "/in/cn_x"), ("POST", "/in/cn_x/order-in"), ("POST", "/v1/stores/north/events")}
MANAGEMENT = {
    ("GET", "/v1/stores"),
    ("GET", "/v1/stores/north/inbox"),
    ("GET", "/v1/stores/north/lanes"),
    ("GET", "/v1/stores/north/events/some-id"),
    ("GET", "/v1/doctor"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
}
SERVED = {"ingest": ANYWHERE | ARRIVALS, "deliver": ANYWHERE, "api": ANYWHERE | MANAGEMENT}


@pytest.fixture(scope="module")
def house(postgres_estate: Estate) -> Iterator[House]:
    with postgres_estate.copy() as made:
        yield made


@pytest.fixture(scope="module")
def yard(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with receiving() as receiver:
        directory = tmp_path_factory.mktemp("roles")
        with yard_in(directory, house.app, loopback_allow=receiver.address) as made:
            made.receiver = receiver  # type: ignore[attr-defined]
            yield made


@pytest.fixture(scope="module")
def posts(yard: Yard) -> dict[str, Post]:
    made = {role: yard.post(role) for role in ("api", "ingest", "deliver")}
    made["api"].store("north")
    return made


@pytest.mark.parametrize("role", sorted(SERVED))
@pytest.mark.parametrize(("method", "path"), sorted(ANYWHERE | ARRIVALS | MANAGEMENT))
def test_a_role_serves_its_paths_and_says_so_of_the_others(
    posts: dict[str, Post], role: str, method: str, path: str
) -> None:
    posts["api"].core("north")
    answer = posts[role].house.call(method, path)
    elsewhere = answer.status == 404 and answer.json["code"] == "CD1040"
    assert elsewhere is ((method, path) not in SERVED[role]), answer.raw
    if elsewhere:
        assert role in answer.json["detail"]


@pytest.mark.parametrize("role", sorted(SERVED))
def test_each_role_is_ready_by_what_it_needs(posts: dict[str, Post], role: str) -> None:
    answer = posts[role].house.ok("GET", "/readyz")
    delivering = {"delivering"} if role == "deliver" else set()
    assert {one["name"] for one in answer["checks"]} == {"serving", "engine"} | delivering
    (started,) = until(lambda: posts[role].lines("process.started"))
    assert (started["role"], started["worker"], started["engine"]) == (role, "1", "postgres")


def test_an_event_goes_in_here_and_out_there(posts: dict[str, Post], yard: Yard) -> None:
    receiver = yard.receiver  # type: ignore[attr-defined]
    hook = {"url": f"http://{receiver.address}/hook"}
    posts["api"].connect("north", "webhook.custom", hook, signing_secret=SECRET)
    before = len(receiver.came)
    token = posts["api"].core("north")
    answer = posts["ingest"].house.call("POST", "/v1/stores/north/events", [product("A")], token, BATCH)
    assert answer.status == 202
    receiver.wait_for(before + 1)
    assert receiver.came[before].event["id"] == "A-1"
    assert sum(one["delivered"] for one in posts["api"].at_rest("north")) == 1
    assert until(lambda: posts["deliver"].lines("delivery.attempted"))
    assert not [role for role in ("api", "ingest") if posts[role].lines("delivery.attempted")]


def test_what_one_process_revokes_another_refuses(posts: dict[str, Post]) -> None:
    made = posts["api"].house.ok("POST", "/v1/tokens", {"role": "core", "store": "north"})

    def publish() -> int:
        events = [product("B")]
        return posts["ingest"].house.call("POST", "/v1/stores/north/events", events, made["token"], BATCH).status

    assert publish() == 202
    posts["api"].house.ok("DELETE", f"/v1/tokens/{made['id']}")
    until(lambda: publish() == 401)


def test_the_doctor_says_which_database_it_is_and_never_who(posts: dict[str, Post], house: House) -> None:
    findings = posts["api"].house.ok("GET", "/v1/doctor")["findings"]
    (found,) = [one for one in findings if one["code"] == "CD7010"]
    assert found["what"].startswith("The database is postgresql://")
    user = house.app.removeprefix("postgresql://").partition("@")[0]
    assert user not in str([one for one in findings if one["code"].startswith("CD7")])


@pytest.mark.parametrize("asked", [["--role", "ingest"], ["--workers", "2"]])
def test_a_file_has_one_process(tmp_path: Path, asked: list[str]) -> None:
    with yard_in(tmp_path) as yard:
        done = Post(tmp_path, yard.environment, shared=tmp_path / "var").run("serve", "--port", "0", *asked)
    assert done.returncode == 1
    assert "CD7007" in done.stderr
    assert "one process owns the file" in done.stderr
    assert not (tmp_path / "var").exists()
