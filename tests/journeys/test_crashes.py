"""Somebody dies at the worst moment: the core or Crossdock itself. Nothing is lost; ids and bodies stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from journeys.floor import SECRET, Floor, floor_in, free_port, order, plain, product, receiving, until

TILL = "a shared secret of the till"
CONSUMER = textwrap.dedent(
    """
    import json, os, signal, sys
    from crossdock.client import Crossdock

    def handle(item):
        print(json.dumps(item.event, sort_keys=True), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    Crossdock(sys.argv[1], sys.stdin.read()).consume("north", handle, wait_seconds=5)
    """
)


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with floor_in(tmp_path_factory.mktemp("crashes")) as made:
        yield made


def consume_and_die(floor: Floor) -> str:
    """What a core saw that was killed after it handled an event and before it said so."""
    url = f"http://127.0.0.1:{floor.house.port}"
    command = [sys.executable, "-c", CONSUMER, url]
    done = subprocess.run(command, input=floor.core("north"), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def test_a_core_that_dies_before_its_mark_gets_the_same_event_again(floor: Floor) -> None:
    floor.store("north")
    connection = floor.connect("north", "orders.generic", {}, signing_secret=TILL)
    assert plain(floor, connection, order("o-1"), TILL).status == 202
    first, second = consume_and_die(floor), consume_and_die(floor)
    assert '"order_id": "o-1"' in first
    assert first == second
    (item,) = floor.pull("north")
    floor.ack("north", item)
    assert floor.pull("north", wait_seconds=0) == []
    assert [one["delivered"] for one in floor.at_rest("north")] == [1]


def test_a_push_waits_for_a_core_that_is_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_port()
    with floor_in(tmp_path_factory.mktemp("push"), f"127.0.0.1:{port}") as floor:
        floor.store("north")
        target = {"mode": "push", "url": f"http://127.0.0.1:{port}/core", "secret": SECRET}
        floor.house.ok("PUT", "/v1/stores/north/core", target)
        connection = floor.connect("north", "orders.generic", {}, signing_secret=TILL)
        assert plain(floor, connection, order("o-2"), TILL).status == 202
        route = f"/v1/stores/north/connections/{connection}/routes/order-in"
        tried = until(lambda: floor.house.ok("GET", f"{route}/attempts")["items"], "an attempt")
        assert (tried[0]["answer"], tried[0]["code"]) == ("unreachable", "connect")
        with receiving(port) as core:
            (came,) = core.wait_for(1)
            assert [one["delivered"] for one in floor.at_rest("north")] == [1]
        assert Webhook(SECRET).verify(came.raw, came.headers)["data"]["order_id"] == "o-2"


def test_what_was_accepted_before_a_kill_is_delivered_after_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    events = 3  # fewer than the contract lets out at once: each has begun when the kill comes
    with receiving() as receiver, floor_in(tmp_path_factory.mktemp("kill"), receiver.address) as floor:
        floor.store("north")
        config = {"url": f"http://{receiver.address}/hook"}
        floor.connect("north", "webhook.custom", config, signing_secret=SECRET)
        receiver.hold.clear()
        assert floor.publish("north", *(product(f"k-{at}") for at in range(events))).status == 202
        begun = {one.headers["webhook-id"]: one.raw for one in receiver.wait_for(events)}
        assert floor.process is not None
        os.kill(floor.process.pid, signal.SIGKILL)
        floor.end()
        receiver.hold.set()
        floor.start()
        lanes = {one["route"]: one for one in floor.at_rest("north")}
        lane = lanes["product-changed"]
        assert (lane["accepted"], lane["delivered"]) == (events, events)
        after = receiver.came[events:]
        assert sorted(one.event["data"]["sku"] for one in after) == [f"k-{at}" for at in range(events)]
        again = {one.headers["webhook-id"]: one.raw for one in after}
        assert again == begun
