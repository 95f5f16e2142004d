from __future__ import annotations

import pytest

from crossdock.credentials.secret import Secret
from crossdock.model.connection import ConnectionState, CoreMode
from crossdock.model.errors import Conflict, IllegalMove, Invalid, NotFound
from crossdock.model.ids import StoreId
from crossdock.stores.connection_desk import ConnectWish
from crossdock.stores.store_desk import CoreWish
from stores.counter import ADMIN, HOOK, MARKET, NORTH, SOUTH, Counter, lane, secret, signing

S = ConnectionState


async def test_a_connection_starts_as_a_draft_and_moves_nothing(counter: Counter) -> None:
    made = await counter.desk.connections.connect(ADMIN, NORTH, ConnectWish(MARKET))
    assert (made.state, made.revision) == (S.DRAFT, 0)
    assert await counter.engine.lanes.open_lanes() == []


async def test_a_store_id_is_taken_once(counter: Counter) -> None:
    with pytest.raises(Conflict) as refused:
        await counter.desk.stores.create(ADMIN, NORTH, "again")
    assert refused.value.code == "CD3003"


async def test_a_store_id_is_a_dns_label(counter: Counter) -> None:
    for bad in ("North", "a_b", "-a", "a-", "", "a" * 64):
        with pytest.raises(Invalid, match="CD3010"):
            await counter.desk.stores.create(ADMIN, StoreId(bad), "x")


async def test_validation_names_all_that_is_missing(counter: Counter) -> None:
    made = await counter.desk.connections.connect(ADMIN, NORTH, ConnectWish(MARKET))
    with pytest.raises(Conflict) as refused:
        await counter.desk.connections.validate(ADMIN, made)
    assert refused.value.code == "CD3005"
    assert refused.value.facts["missing"] == ["config", "credentials"]
    assert "api_key, webhook_secret" in refused.value.message


async def test_a_failed_trial_keeps_it_a_draft(counter: Counter) -> None:
    name = await counter.market()
    counter.trials.troubles["dry_run"] = "the mapping cannot make a request"
    row = await counter.office.connection(NORTH, name)
    with pytest.raises(Conflict, match="mapping"):
        await counter.desk.connections.validate(ADMIN, row)
    assert (await counter.office.connection(NORTH, name)).state is S.DRAFT


async def test_enabling_opens_a_lane_for_each_route(counter: Counter) -> None:
    name = await counter.enabled()
    lanes = await counter.engine.lanes.open_lanes()
    assert sorted(str(one.id.route) for one in lanes) == ["order-in", "product-push"]
    assert (await counter.office.connection(NORTH, name)).state is S.ENABLED


async def test_a_draft_cannot_be_enabled(counter: Counter) -> None:
    name = await counter.market()
    with pytest.raises(IllegalMove, match="CD3001"):
        await counter.desk.connections.enable(ADMIN, await counter.office.connection(NORTH, name))


async def test_pause_resume_and_disable(counter: Counter) -> None:
    name = await counter.enabled()
    desk = counter.desk.connections
    row = await counter.office.connection(NORTH, name)
    assert (await desk.pause(ADMIN, row, "a holiday")).reason == "a holiday"
    assert (await desk.resume(ADMIN, row)).reason == ""
    assert (await desk.disable(ADMIN, row)).state is S.DISABLED
    assert await counter.engine.lanes.open_lanes() == []


async def test_a_configuration_that_does_not_fit_is_refused_and_nothing_is_written(counter: Counter) -> None:
    name = await counter.enabled()
    row = await counter.office.connection(NORTH, name)
    with pytest.raises(Invalid, match="CD2005"):
        await counter.desk.connections.configure(ADMIN, row, {"seller_id": "no!"}, None)
    assert len(await counter.desk.connections.revisions(NORTH, name)) == 1
    assert await counter.office.connection(NORTH, name) == row


async def test_a_rollback_brings_back_the_very_same_configuration(counter: Counter) -> None:
    name = await counter.enabled()
    desk = counter.desk.connections
    row = await counter.office.connection(NORTH, name)
    first = (await desk.read(NORTH, name)).revision
    await desk.configure(ADMIN, row, {"seller_id": "OTHER9", "safety_stock": 7}, None)
    assert (await desk.read(NORTH, name)).config["seller_id"] == "OTHER9"
    after = await desk.rollback(ADMIN, row, 1)
    assert (after.revision, after.state) == (1, S.ENABLED)
    assert (await desk.read(NORTH, name)).revision == first
    again = await desk.configure(ADMIN, row, {"seller_id": "THIRD33"}, None)
    assert again.revision == 3


async def test_a_rollback_to_what_is_not_there_is_refused(counter: Counter) -> None:
    name = await counter.enabled()
    row = await counter.office.connection(NORTH, name)
    for number in (1, 9):
        with pytest.raises(Invalid, match="CD3007"):
            await counter.desk.connections.rollback(ADMIN, row, number)


async def test_a_version_that_has_moved_is_a_conflict(counter: Counter) -> None:
    name = await counter.enabled()
    row = await counter.office.connection(NORTH, name)
    with pytest.raises(Conflict, match="CD3002"):
        await counter.desk.connections.configure(ADMIN, row, {"seller_id": "OTHER9"}, None, row.version - 1)


async def test_every_change_is_on_the_record_with_its_author_and_correlation(counter: Counter) -> None:
    name = await counter.enabled()
    found = await counter.engine.registry.audit(NORTH, 0, 100)
    assert [one.action for one in found] == [
        "store.created",
        "connection.created",
        "credential.set",
        "credential.set",
        "connection.validated",
        "connection.enabled",
    ]
    assert {(one.actor, one.correlation_id) for one in found} == {("token:admin", "cor-test-0001")}
    assert found[-1].detail["after"] == {"state": "enabled", "revision": 1}
    assert found[-1].object == name


async def test_another_stores_connection_is_not_there(counter: Counter) -> None:
    name = await counter.enabled(NORTH)
    with pytest.raises(NotFound, match="CD3004"):
        await counter.desk.connections.read(SOUTH, name)
    with pytest.raises(NotFound, match="CD3004"):
        await counter.desk.credentials.set(ADMIN, SOUTH, name, "api_key", secret("x"))


async def test_a_rotated_credential_overlaps_as_the_contract_says(counter: Counter) -> None:
    name = await counter.enabled()
    await counter.desk.credentials.set(ADMIN, NORTH, name, "api_key", secret("the new one"))
    way = await counter.directory.way(lane(name))
    assert way is not None
    assert [one.reveal() for one in way.secrets["api_key"]] == [b"the new one", b"api_key of north"]
    counter.clock.forward(2 * 86_400_000)
    way = await counter.directory.way(lane(name))
    assert way is not None
    assert [one.reveal() for one in way.secrets["api_key"]] == [b"the new one"]


async def test_a_credential_without_overlap_is_replaced_at_once(counter: Counter) -> None:
    name = await counter.enabled()
    await counter.desk.credentials.set(ADMIN, NORTH, name, "webhook_secret", signing("the new one"))
    door = await counter.directory.door(name, None)
    assert door is not None
    assert door.secrets["webhook_secret"] == (signing("the new one"),)


async def test_a_credential_does_not_follow_a_changed_host(counter: Counter) -> None:
    desk = counter.desk
    made = await desk.connections.connect(ADMIN, NORTH, ConnectWish(HOOK, config={"url": "https://one.example/in"}))
    await desk.credentials.set(ADMIN, NORTH, made.id, "signing", signing("one"))
    await desk.connections.validate(ADMIN, made)
    await desk.connections.enable(ADMIN, made)
    with pytest.raises(Conflict, match="another host"):
        await desk.connections.configure(ADMIN, made, {"url": "https://two.example/in"}, None)
    await desk.connections.pause(ADMIN, made)
    await desk.connections.configure(ADMIN, made, {"url": "https://two.example/in"}, None)
    way = await counter.directory.way(lane(made.id, "events"))
    assert way is not None
    assert way.targets["receiver"].host == "two.example"
    assert "signing" not in way.secrets
    with pytest.raises(Conflict, match="enter it again"):
        await desk.connections.resume(ADMIN, made)
    await desk.credentials.set(ADMIN, NORTH, made.id, "signing", signing("two"))
    assert (await desk.connections.resume(ADMIN, made)).state is S.ENABLED


@pytest.mark.parametrize(
    "url",
    [
        "http://one.example/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://localhost/",
        "https://core.internal/",
        "https://one.example./",
        "https://one.example:22/",
        "https://user:word@one.example/",
        "https://one.example/#part",
        "https://api.acme.example/",
        "http://127.0.0.1:9003/",
        "ftp://one.example/",
        "one.example",
    ],
)
async def test_a_url_that_may_not_be_called_is_refused(counter: Counter, url: str) -> None:
    with pytest.raises(Invalid, match="CD3009"):
        await counter.desk.stores.set_core_endpoint(ADMIN, NORTH, CoreWish(CoreMode.PUSH, url, signing("s")))


async def test_the_core_endpoint_reaches_the_inbound_ways_at_once(counter: Counter) -> None:
    name = await counter.enabled()
    way = await counter.directory.way(lane(name, "order-in"))
    assert way is not None
    assert (way.core, way.targets) == (CoreMode.PULL, {})
    wish = CoreWish(CoreMode.PUSH, "http://127.0.0.1:9002/core?x=1", signing("a core secret"))
    await counter.desk.stores.set_core_endpoint(ADMIN, NORTH, wish)
    way = await counter.directory.way(lane(name, "order-in"))
    assert way is not None
    assert way.core is CoreMode.PUSH
    assert way.targets["core"].connect_to == ("127.0.0.1", 9002)
    assert way.targets["core"].paths == ("/core?x=1",)
    assert way.secrets["core"][0].reveal() == signing("a core secret").reveal()


async def test_a_push_needs_a_secret_and_keeps_the_one_it_has(counter: Counter) -> None:
    stores = counter.desk.stores
    with pytest.raises(Invalid, match="CD3008"):
        await stores.set_core_endpoint(ADMIN, NORTH, CoreWish(CoreMode.PUSH, "https://core.example/in"))
    await stores.set_core_endpoint(ADMIN, NORTH, CoreWish(CoreMode.PUSH, "https://core.example/in", signing("one")))
    await stores.set_core_endpoint(ADMIN, NORTH, CoreWish(CoreMode.PULL))
    kept = await stores.set_core_endpoint(ADMIN, NORTH, CoreWish(CoreMode.PUSH, "https://core.example/in"))
    assert counter.vault.open(await stores.read(NORTH)).unseal_core_secret(kept.sealed_secret) == signing("one")


async def test_delivery_pauses_once_and_a_second_time_is_nothing(counter: Counter) -> None:
    name = await counter.enabled()
    assert await counter.desk.connections.pause_if_enabled(ADMIN, NORTH, name, "gone")
    assert not await counter.desk.connections.pause_if_enabled(ADMIN, NORTH, name, "gone")
    assert (await counter.office.connection(NORTH, name)).reason == "gone"


async def test_a_used_credential_is_not_dropped(counter: Counter) -> None:
    name = await counter.enabled()
    with pytest.raises(Conflict, match="CD3011"):
        await counter.desk.credentials.drop(ADMIN, NORTH, name, "api_key")
    await counter.desk.connections.disable(ADMIN, await counter.office.connection(NORTH, name))
    await counter.desk.credentials.drop(ADMIN, NORTH, name, "api_key")
    with pytest.raises(NotFound):
        await counter.desk.credentials.drop(ADMIN, NORTH, name, "api_key")


@pytest.mark.parametrize("bad", [b"short", b"whsec_c2hvcnQ=", b"whsec_no base64 at all, but long enough"])
async def test_a_signing_secret_that_its_scheme_cannot_use_is_said_when_it_is_entered(
    counter: Counter, bad: bytes
) -> None:
    name = await counter.market()
    with pytest.raises(Invalid) as caught:
        await counter.desk.credentials.set(ADMIN, NORTH, name, "webhook_secret", Secret(bad))
    assert caught.value.code == "CD6012"
    assert bad.decode() not in str(caught.value)
    assert (await counter.desk.credentials.listed(NORTH, name)).credential("webhook_secret").version == 1


async def test_a_push_secret_that_cannot_sign_is_said_when_it_is_entered(counter: Counter) -> None:
    wish = CoreWish(CoreMode.PUSH, "https://core.example/in", secret("too plain"))
    with pytest.raises(Invalid, match="CD6012"):
        await counter.desk.stores.set_core_endpoint(ADMIN, NORTH, wish)
    assert (await counter.desk.stores.core_endpoint(NORTH)).mode is CoreMode.PULL
