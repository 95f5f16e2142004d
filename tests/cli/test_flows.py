"""The main flows, as a person types them: the real program, a real server, a real receiver."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import termios
from pathlib import Path

import pytest

from served import PROGRAM, Installation, product


def test_from_a_store_to_a_delivered_event(installation: Installation, tmp_path: Path) -> None:
    installation.json("store", "create", "sofia", "--name", "Sofia shop")
    assert "Sofia shop" in installation.run("store", "list").stdout
    core = installation.json("token", "create", "--role", "core", "--store", "sofia", "--label", "the core")["token"]

    made = installation.json("connect", "new", "sofia", "webhook.custom", "--label", "ours")
    assert made["state"] == "draft"
    connection = made["id"]
    needs = installation.run("connect", "needs", "sofia", connection, code=1).stdout
    assert "signing_secret" in needs
    config = json.dumps({"url": f"http://{installation.receiver.address}/hook"})
    installation.json("connect", "config", "sofia", connection, "-", given=config)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    shown = installation.run("connect", "credential", "sofia", connection, "signing_secret", given=secret + "\n")
    assert secret not in shown.stdout + shown.stderr
    assert re.search(r"^At +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", shown.stdout, re.MULTILINE)
    assert installation.json("connect", "validate", "sofia", connection)["state"] == "validated"
    assert installation.json("connect", "enable", "sofia", connection)["state"] == "enabled"

    events = tmp_path / "products.ndjson"
    events.write_text("\n".join(json.dumps(product(f"sku-{n}", id=f"p-{n}")) for n in range(3)))
    published = installation.run(
        "event", "publish", "sofia", str(events), "--token-file", str(token_file(tmp_path, core))
    )
    assert "3 kept." in published.stdout
    installation.receiver.wait_for(3)
    assert {headers["webhook-id"] for headers, _ in installation.receiver.came} == {"p-0", "p-1", "p-2"}

    shown = installation.run("event", "show", "sofia", "p-1")
    assert "product-changed" in shown.stdout
    ledger = installation.json("lane", "list", "sofia")["items"]
    assert all(lane["closes"] for lane in ledger)
    attempts = installation.json("lane", "attempts", "sofia", connection, "product-changed")["items"]
    assert {attempt["code"] for attempt in attempts} == {"http_204"}
    assert installation.json("doctor")["well"]


def token_file(directory: Path, token: str) -> Path:
    path = directory / "token"
    path.write_text(token + "\n")
    return path


def test_a_connections_life(installation: Installation) -> None:
    installation.store("varna")
    connection = installation.webhook("varna")
    assert installation.json("connect", "pause", "varna", connection, "--reason", "stocktaking")["state"] == "paused"
    assert "stocktaking" in installation.run("connect", "list", "varna").stdout
    assert installation.json("connect", "resume", "varna", connection)["state"] == "enabled"
    config = json.dumps({"url": f"http://{installation.receiver.address}/other"})
    first = installation.json("connect", "show", "varna", connection)["revision"]
    installation.json("connect", "config", "varna", connection, "-", given=config)
    rolled = installation.json("connect", "rollback", "varna", connection, str(first))
    assert rolled["config"]["url"].endswith("/hook")
    numbers = [
        revision["number"] for revision in installation.json("connect", "revisions", "varna", connection)["items"]
    ]
    assert numbers == sorted(numbers)
    assert installation.json("connect", "disable", "varna", connection)["state"] == "disabled"
    refused = installation.run("connect", "resume", "varna", connection, code=1)
    assert "CD3001" in refused.stderr
    assert installation.json("connect", "forget", "varna", connection, "signing_secret") == {
        "forgotten": "signing_secret"
    }
    assert [slot["set"] for slot in installation.json("connect", "credential", "varna", connection)["items"]] == [False]
    assert "crossdock explain CD3001" in refused.stderr


def test_what_is_refused_is_a_problem_on_standard_error_and_exit_code_1(installation: Installation) -> None:
    refused = installation.run("store", "show", "nowhere", "--json", code=1)
    assert refused.stdout == ""
    problem = json.loads(refused.stderr)
    assert (problem["status"], problem["code"]) == (404, "CD3004")


def test_a_wrong_token_is_refused_and_not_shown(installation: Installation, tmp_path: Path) -> None:
    wrong = "cdt_" + "0" * 26 + "_" + "A" * 43
    refused = installation.run("store", "list", "--token-file", str(token_file(tmp_path, wrong)), code=1)
    assert "CD3020" in refused.stderr
    assert wrong not in refused.stderr + refused.stdout


def test_one_stores_token_sees_nothing_of_another(installation: Installation, tmp_path: Path) -> None:
    mine, _ = installation.store("burgas"), installation.store("ruse")
    file = str(token_file(tmp_path, mine))
    installation.run("store", "show", "burgas", "--token-file", file)
    foreign = installation.run("store", "show", "ruse", "--token-file", file, code=1).stderr
    unknown = installation.run("store", "show", "nowhere", "--token-file", file, code=1).stderr
    assert foreign == unknown


def test_a_token_lives_until_it_is_revoked(installation: Installation, tmp_path: Path) -> None:
    made = installation.json("token", "create", "--role", "platform_auditor", "--label", "auditor", "--days", "1")
    file = str(token_file(tmp_path, made["token"]))
    installation.run("store", "list", "--token-file", file)
    listed = installation.run("token", "list").stdout
    assert made["id"] in listed
    assert made["token"] not in listed
    installation.run("token", "revoke", made["id"])
    assert "CD3020" in installation.run("store", "list", "--token-file", file, code=1).stderr


def test_publishing_the_same_file_twice_keeps_each_event_once(installation: Installation, tmp_path: Path) -> None:
    admin = token_file(tmp_path, installation.store("plovdiv"))
    events = tmp_path / "events.json"
    events.write_text(json.dumps([product("a", id="a-1", time="2026-01-01T00:00:00Z")]))
    arguments = ("event", "publish", "plovdiv", str(events), "--token-file", str(admin))
    assert installation.json(*arguments) == installation.json(*arguments)
    shown = installation.json("event", "show", "plovdiv", "a-1", "--token-file", str(admin))
    assert [item["position"] for item in shown["items"]] == [1]


def test_an_event_that_does_not_fit_is_refused_with_where(installation: Installation, tmp_path: Path) -> None:
    admin = token_file(tmp_path, installation.store("pernik"))
    bad = json.dumps({"type": "product.changed", "data": {"sku": 5}})
    refused = installation.run("event", "publish", "pernik", "-", "--token-file", str(admin), given=bad, code=1)
    assert "/data/sku" in refused.stderr


def test_a_file_that_is_not_events_is_refused_with_its_line(installation: Installation, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text('{"type":"a"}\n{"type":\n')
    refused = installation.run("event", "publish", "sofia", str(events), "--json", code=1)
    assert json.loads(refused.stderr)["where"] == f"{events}:2"


def test_nobody_there_is_exit_code_3(installation: Installation) -> None:
    gone = {**installation.environment, "CROSSDOCK_URL": "http://127.0.0.1:9"}
    done = subprocess.run([*PROGRAM, "store", "list", "--json"], check=False, capture_output=True, text=True, env=gone)
    assert done.returncode == 3
    problem = json.loads(done.stderr)
    assert (problem["code"], problem["where"]) == ("CD7020", "http://127.0.0.1:9")
    assert "crossdock serve" in problem["remedy"]


@pytest.mark.parametrize("arguments", [["store"], ["store", "create"], ["store", "shwo"], ["lane", "list", "--nope"]])
def test_wrong_usage_is_exit_code_2(installation: Installation, arguments: list[str]) -> None:
    assert installation.run(*arguments, code=2).returncode == 2


def test_without_a_token_it_says_how_to_get_one() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
    done = subprocess.run([*PROGRAM, "store", "list"], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "CD7024" in done.stderr
    assert "crossdock token create" in done.stderr


def test_the_data_directory_has_one_owner(installation: Installation) -> None:
    for arguments in (["doctor"], ["token", "create", "--role", "platform_admin"]):
        refused = installation.run(*arguments, "--dir", str(installation.directory), code=3)
        assert "CD5005" in refused.stderr


def test_explain_prints_a_page_and_suggests_near_ones(installation: Installation) -> None:
    assert installation.run("explain", "cd7022").stdout.startswith("# CD7022  ")
    refused = installation.run("explain", "CD702", code=1)
    assert "CD7022" in refused.stderr
    listed = installation.json("explain", "--list")
    assert {"code": "CD7022", "title": "The address or the token of Crossdock cannot be used"} in listed


def test_the_shipped_contracts_are_listed_shown_and_clean(installation: Installation) -> None:
    ids = [item["id"] for item in installation.json("contracts", "list")["items"]]
    assert "marketplace.acme" in ids
    shown = installation.json("contracts", "show", "marketplace.acme")
    assert {route["direction"] for route in shown["routes"]} == {"outbound", "inbound"}
    assert shown["destinations"][0]["live"].endswith(".example")
    assert installation.run("contracts", "lint").stdout == "Nothing was found.\n"
    assert "CD7029" in installation.run("contracts", "show", "no.such", code=1).stderr


def test_a_shown_contract_names_its_hosts_and_each_field_with_its_class(installation: Installation) -> None:
    shown = installation.run("contracts", "show", "analytics.http-batch").stdout.splitlines()
    assert any("collect.factline.example" in line and "collect.sandbox.factline.example" in line for line in shown)
    assert [line.split() for line in shown if line.startswith("/customer/id")] == [["/customer/id", "pii", "hmac"]]
    assert any(line.split() == ["api_key", "yes", "no", "90", "days"] for line in shown)
    whose = installation.run("contracts", "show", "webhook.custom").stdout
    assert "the store's own, in config url" in whose


def test_one_key_of_the_configuration_is_changed_and_the_rest_stays(installation: Installation) -> None:
    installation.store("montana")
    connection = installation.webhook("montana")
    before = installation.json("connect", "show", "montana", connection)["config"]
    change = ("connect", "config", "montana", connection)
    installation.json(*change, "--set", "sellable_only=false")
    after = installation.json("connect", "show", "montana", connection)["config"]
    assert after == {**before, "sellable_only": False}
    assert "/sellable_only" in installation.run(*change, "--set", "sellable_only=perhaps", code=1).stderr
    assert installation.run(*change, code=2).stdout == ""
    installation.run(*change, "--set", "sellable_only", code=2)


def test_the_record_of_changes_is_read_by_store_and_page_by_page(installation: Installation) -> None:
    installation.store("vidin")
    installation.webhook("vidin")
    of_the_store = installation.json("audit", "vidin")["items"]
    assert {entry["store"] for entry in of_the_store} == {"vidin"}
    assert "connection.enabled" in {entry["action"] for entry in of_the_store}
    first = installation.json("audit", "--limit", "1")
    second = installation.json("audit", "--after", str(first["next"]), "--limit", "1")
    assert second["items"][0]["seq"] > first["items"][0]["seq"]
    assert f"--after {first['next']}" in installation.run("audit", "--limit", "1").stderr


def test_a_contract_that_breaks_a_rule_is_told_with_its_place(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text("apiVersion: crossdock/v1\nkind: Integration\nkind: Integration\n")
    found = installation.run("contracts", "lint", str(tmp_path), code=1).stdout
    assert "contract.yaml:3:1" in found


def test_a_secret_is_typed_unseen(installation: Installation) -> None:
    """On a terminal the value is asked for and not echoed."""
    installation.store("dobrich")
    connection = installation.json("connect", "new", "dobrich", "webhook.custom")["id"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "connect", "credential", "dobrich", connection, "signing_secret"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=installation.environment,
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    while b"signing_secret:" not in seen:
        seen += os.read(leader, 1024)
    while termios.tcgetattr(leader)[3] & termios.ECHO:
        os.sched_yield()
    os.write(leader, b"whsec_dHlwZWQgdW5zZWVuLCBhbmQgbG9uZyBlbm91Z2g=\n")
    assert process.wait(30) == 0
    try:
        while chunk := os.read(leader, 4096):
            seen += chunk
    except OSError:
        pass  # the far end of a terminal is closed
    os.close(leader)
    assert b"whsec" not in seen
    slots = installation.json("connect", "credential", "dobrich", connection)["items"]
    assert [slot["set"] for slot in slots] == [True]


def test_what_is_parked_is_shown_and_sent_again(installation: Installation, tmp_path: Path) -> None:
    admin = token_file(tmp_path, installation.store("shumen"))
    connection = installation.webhook("shumen")
    lane = ("shumen", connection, "product-changed")
    installation.receiver.status = 422
    came = len(installation.receiver.came)
    event = json.dumps(product("late", id="late-1"))
    installation.run("event", "publish", "shumen", "-", "--token-file", str(admin), given=event)
    installation.receiver.wait_for(came + 1)
    with installation.client() as client:
        while not client.held(*lane, state="parked")["items"]:
            client.lanes("shumen")
    assert "late-1" in installation.run("lane", "held", *lane, "--state", "parked").stdout
    installation.receiver.status = 204

    dry = installation.json("lane", "replay", *lane, "--where", "event=late-1", "--dry-run")
    assert (dry["dry_run"], dry["selected"]) == (True, 1)
    assert installation.json("lane", "replay", *lane, "--where", "event=other")["selected"] == 0
    sent = installation.run("lane", "replay", *lane, "--where", "event=late-1", "--wait")
    assert "Sent to the lane: 1" in sent.stdout
    assert installation.json("lane", "held", *lane)["items"] == []
    assert len(installation.receiver.came) == came + 2
    assert "CD7031" in installation.run("lane", "replay", *lane, "--where", "colour=red", code=1).stderr
