"""What `deploy/` says is what the program knows: its commands, its variables, its times. Nothing there runs as root or
holds a secret."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossdock.cli.reference import commands
from crossdock.databases import PostgresUrl
from crossdock.settings import ProcessRole, Settings, settings_table
from crossdock.workers import GRACE_SECONDS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
MANIFESTS = sorted(path for path in DEPLOY.glob("kubernetes/*.yaml") if path.name != "kustomization.yaml")
SECRET = {f"CROSSDOCK_{name.upper()}" for name, field in Settings.model_fields.items() if "SecretStr" in str(field)}
PLACES = ("compose", "systemd", "kubernetes")
DRAIN = "CROSSDOCK_DRAIN_SECONDS"


def compose() -> dict[str, Any]:
    """The services of Crossdock itself, by name."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return {name: one for name, one in services.items() if one["image"] == "crossdock:local"}


def unit(path: Path) -> dict[str, list[str]]:
    """Every directive's values, in their order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def objects(kind: str = "") -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        for one in yaml.safe_load_all(path.read_text()):
            if kind in {"", one["kind"]}:
                yield one


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("Deployment", "Job"):
        for one in objects(kind):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def servers() -> dict[str, dict[str, Any]]:
    """The pods that serve, by name."""
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in objects("Deployment")}


def called(place: str) -> list[list[str]]:
    """The arguments that `crossdock` is called with."""
    if place == "compose":
        return [one["command"] for one in compose().values()]
    if place == "kubernetes":
        return [container["args"] for _, pod in pods() for container in pod["containers"]]
    if place == "image":
        given = re.search(r"^CMD (.*)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        assert given is not None
        return [json.loads(given[1])]
    lines = [shlex.split(line.replace("%i", "8400")) for path in UNITS for line in unit(path)["ExecStart"]]
    assert {line[0] for line in lines} == {"/opt/crossdock/bin/crossdock"}
    return [line[1:] for line in lines]


@pytest.mark.parametrize("place", [*PLACES, "image"])
def test_every_command_is_one_that_the_program_takes(place: str) -> None:
    known = {tuple(name.split()[1:]): command for name, command in commands()}
    found = called(place)
    assert found
    for arguments in found:
        name = max((one for one in known if arguments[: len(one)] == list(one)), key=len)
        assert name, arguments
        # A usage error for an option or a value that it does not know.
        known[name].make_context(" ".join(name), arguments[len(name) :])


@pytest.mark.parametrize("place", PLACES)
def test_every_role_is_served_and_the_schema_is_made(place: str) -> None:
    found = called(place)
    roles = {one[one.index("--role") + 1] for one in found if one[0] == "serve"}
    assert roles == {str(role) for role in ProcessRole} - {"all"}
    assert ["db", "migrate"] in found


def test_every_variable_is_a_setting() -> None:
    known = {row.variable for row in settings_table()}
    named = {
        (path.name, name) for path in FILES for name in re.findall(r"\bCROSSDOCK_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert len(named) > 20
    assert {(path, name) for path, name in named if name not in known} == set()


def test_only_the_migration_has_the_owners_address() -> None:
    owner = "CROSSDOCK_DATABASE_OWNER"
    assert [name for name, one in compose().items() if owner in one["environment"]] == ["migrate"]
    assert [name for name, pod in pods() if owner in str(pod)] == ["crossdock-migrate"]
    with_owner = [path.name for path in UNITS if "/etc/crossdock/owner.env" in unit(path)["EnvironmentFile"]]
    assert with_owner == ["crossdock-migrate.service"]
    holding = [path.name for path in DEPLOY.glob("systemd/*.example") if owner in path.read_text()]
    assert holding == ["owner.env.example"]


def addresses() -> Iterator[tuple[str, str]]:
    """Every database URL that is written somewhere, with its file."""
    for path in FILES:
        for url in re.findall(r"postgresql://[^\s\"'`|]+", path.read_text()):
            yield path.name, re.sub(r"\$\{[^}]*\}", "x", url).replace("…", "x")


def test_every_address_names_several_hosts_and_asks_for_the_one_that_takes_writes() -> None:
    found = list(addresses())
    assert {name for name, _ in found} >= {"compose.yaml", "crossdock.env.example", "owner.env.example", "secrets.md"}
    for name, url in found:
        parsed = PostgresUrl.parse(url)
        assert parsed.several, name
        parsed.refuse_read_only(name)
        assert parsed.tls_checked or name == "compose.yaml", name


def test_no_file_holds_a_secret() -> None:
    assert {"CROSSDOCK_DATABASE", "CROSSDOCK_DATABASE_OWNER", "CROSSDOCK_ROOT_KEY"} <= SECRET
    for path in FILES:
        text = path.read_text()
        for login in re.findall(r"postgresql://([^@\s]*)@", text):
            _, _, password = login.partition(":")
            assert password in {"", "…"} or re.fullmatch(r"\$\{\w+:\?\}", password), path.name
        given = re.findall(r"(?m)^\s*-?\s*\w*PASSWORD\w*\s*[=:][ \t]*(\S*)", text)
        assert [one for one in given if one and not re.fullmatch(r"\$\{\w+:\?\}", one)] == [], path.name
    assert "password:" not in (DEPLOY / "patroni" / "patroni.yml").read_text()


def test_kubernetes_takes_secrets_by_reference_alone() -> None:
    assert list(objects("Secret")) == []
    (config,) = objects("ConfigMap")
    assert set(config["data"]) & SECRET == set()
    for name, pod in pods():
        for container in pod["containers"]:
            held = {one["name"]: one for one in container["env"] if one["name"] in SECRET}
            assert "CROSSDOCK_DATABASE" in held, name
            assert all(
                set(one) == {"name", "valueFrom"} and "secretKeyRef" in one["valueFrom"] for one in held.values()
            )


def test_nothing_of_crossdock_runs_as_root_or_writes_beside_its_data() -> None:
    for name, one in compose().items():
        assert int(one["user"].split(":")[0]) > 0, name
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in one["security_opt"], name
        assert "privileged" not in one, name
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert not pod["automountServiceAccountToken"], name
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"], name
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
    for path in UNITS:
        told = unit(path)
        assert told["DynamicUser"] == ["yes"], path.name
        assert "User" not in told, path.name
        assert told["ProtectSystem"] == ["strict"], path.name
        assert told["NoNewPrivileges"] == ["yes"], path.name
        assert told["CapabilityBoundingSet"] == [""], path.name


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("Dockerfile")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_no_image_ends_as_root(path: Path) -> None:
    users = re.findall(r"(?m)^USER (\S+)", path.read_text())
    assert users
    assert users[-1].split(":")[0] not in {"root", "0"}


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s?", text), text
    return int(text.rstrip("s"))


def test_whoever_stops_a_server_waits_longer_than_it_drains() -> None:
    (config,) = objects("ConfigMap")
    for name, pod in servers().items():
        (container,) = pod["containers"]
        command, wait = container["lifecycle"]["preStop"]["exec"]["command"]
        assert command == "sleep"
        least = int(wait) + int(config["data"][DRAIN]) + GRACE_SECONDS
        assert pod["terminationGracePeriodSeconds"] > least, name
    for name, one in compose().items():
        assert seconds(one["stop_grace_period"]) > int(one["environment"][DRAIN]) + GRACE_SECONDS, name
    (drain,) = re.findall(rf"(?m)^{DRAIN}=(\d+)$", (DEPLOY / "systemd" / "crossdock.env.example").read_text())
    serving = [told for told in map(unit, UNITS) if told["Type"] == ["exec"]]
    assert len(serving) == 3
    for told in serving:
        assert seconds(told["TimeoutStopSec"][0]) > int(drain) + GRACE_SECONDS
        assert told["KillSignal"] == ["SIGTERM"]
        assert told["KillMode"] == ["mixed"], (
            "a worker that hears SIGTERM beside its supervisor is not wrong, but early"
        )


def test_a_database_that_is_away_takes_pods_out_and_restarts_none() -> None:
    for name, pod in servers().items():
        (container,) = pod["containers"]
        paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
        assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}, name


def test_a_disruption_takes_one_pod_of_a_role_at_a_time() -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in objects("PodDisruptionBudget")}
    for one in objects("Deployment"):
        budget = budgets[one["metadata"]["name"]]
        assert budget["selector"] == one["spec"]["selector"]
        assert budget["maxUnavailable"] == 1
        assert one["spec"]["replicas"] >= 2


def test_what_no_policy_allows_is_refused() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in objects("NetworkPolicy")}
    assert policies.pop("crossdock-nothing") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies.items():
        rules = [*spec.get("ingress", []), *spec.get("egress", [])]
        assert rules, name
        assert all(rule["ports"] and (rule.get("from") or rule.get("to")) for rule in rules), name


def test_every_manifest_is_applied() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]


def test_the_cluster_acknowledges_nothing_that_one_disk_holds() -> None:
    told = yaml.safe_load((DEPLOY / "patroni" / "patroni.yml").read_text())
    dcs = told["bootstrap"]["dcs"]
    assert dcs["synchronous_mode"] is True
    assert dcs["synchronous_mode_strict"] is True
    assert dcs["loop_wait"] + 2 * dcs["retry_timeout"] <= dcs["ttl"]
    assert dcs["maximum_lag_on_failover"] >= 2**40, "it holds for the synchronous standby too"
    held = dcs["postgresql"]["parameters"]
    assert {held[name] for name in ("fsync", "full_page_writes", "synchronous_commit")} == {"on"}
    assert "data-checksums" in told["bootstrap"]["initdb"]
