"""From the nodes of contract.yaml to a typed Contract."""

from __future__ import annotations

import re

from crossdock.contracts.files import Files
from crossdock.contracts.finding import Report
from crossdock.contracts.located import Located
from crossdock.contracts.parse_route import METHOD, parse_rate, parse_route
from crossdock.contracts.section import Section
from crossdock.model.contract import (
    Account,
    Auth,
    AuthScheme,
    Check,
    Contract,
    Coupling,
    CredentialSlot,
    Destination,
    Direction,
    Lifecycle,
    Owner,
    Purpose,
    Queued,
    Status,
    Surface,
)
from crossdock.model.ids import CONTRACT_ID, ContractId
from crossdock.model.limits import DAY_MS

API_VERSION = re.compile(r"crossdock/v1")
KIND = re.compile(r"Integration")
VERSION = re.compile(r"(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})")
SLOT_NAME = re.compile(r"[a-z][a-z0-9_]{0,38}")
CONFLICT = re.compile(r"field_owner_wins")
RECONCILE = re.compile(r"report_only")
DEFAULT = re.compile(r"[a-z]+")


def parse_contract(root: Located, files: Files, report: Report, origin: str = "") -> Contract | None:
    """The contract, or None where `report` (S001) says why not. By form alone: what it may say is for the rules."""
    section = Section(root, report, "the contract")
    section.text("apiVersion", pattern=API_VERSION)
    section.text("kind", pattern=KIND)
    owner = section.needed("owner")
    auth, coupling, check = section.section("auth"), section.section("coupling"), section.section("check")
    account = section.section("account")
    section.text("tests", "")
    contract = Contract(
        id=ContractId(section.text("id", pattern=CONTRACT_ID)),
        version=section.text("version", pattern=VERSION),
        status=section.choice("status", Status),
        title=section.text("title"),
        summary=section.text("summary"),
        owner=owner.choice("class", Owner),
        owner_contact=f"{owner.text('team')} <{owner.text('contact')}>",
        surface=section.choice("surface", Surface),
        direction=section.choice("direction", Direction),
        purpose=section.choice("purpose", Purpose),
        scopes=section.texts("scopes"),
        credentials=tuple(_slot(name, slot) for name, slot in section.named("credentials")),
        destinations=tuple(_destination(name, one) for name, one in section.named("destinations")),
        auth=_auth(auth) if auth else Auth(),
        config=section.document("config", required=True),
        routes=tuple(parse_route(route, files) for route in section.listed("routes")),
        lifecycle=_lifecycle(section.needed("lifecycle")),
        coupling=_coupling(coupling) if coupling else None,
        check=_check(check) if check else None,
        account=_account(account) if account else None,
        page=section.text("page", ""),
        origin=origin,
    )
    owner.end()
    section.end()
    _distinct(section, contract)
    return contract if report.clean else None


def _distinct(section: Section, contract: Contract) -> None:
    names: set[str] = set()
    for index, route in enumerate(contract.routes):
        if route.name in names:
            section.wrong(section.node.at("routes", index, "name"), "Two routes have one name.", "Rename one.")
        names.add(route.name)


def _slot(name: str, section: Section) -> CredentialSlot:
    if SLOT_NAME.fullmatch(name) is None:
        section.wrong(section.node, "A credential's name is lower case with underscores.", "Rename it.")
    kind = section.text("type", pattern=re.compile("secret|public"))
    slot = CredentialSlot(
        name=name,
        secret=kind == "secret",
        rotate_ms=section.optional_duration("rotate"),
        overlap_ms=section.duration("overlap", 0),
        managed=section.flag("managed", False),
        optional=section.flag("optional", False),
    )
    section.end()
    return slot


def _destination(name: str, section: Section) -> Destination:
    destination = Destination(
        name=name,
        live=section.text("live", ""),
        sandbox=section.text("sandbox", ""),
        methods=section.texts("methods"),
        paths=section.texts("paths"),
        port=section.number("port", 0, low=1, high=65_535),
        operator=section.text("operator", ""),
        store_url=section.text("store_url", ""),
    )
    ways = [bool(destination.live or destination.sandbox), bool(destination.operator), bool(destination.store_url)]
    if sum(ways) != 1 or bool(destination.live) != bool(destination.sandbox):
        section.wrong(
            section.node, "A destination is live and sandbox, or operator, or store_url.", "Keep one of them."
        )
    section.end()
    return destination


def _auth(section: Section) -> Auth:
    auth = Auth(
        scheme=section.choice("scheme", AuthScheme),
        secret=section.text("secret", ""),
        header=section.text("header", ""),
        username=section.text("username", ""),
    )
    section.end()
    return auth


def _coupling(section: Section) -> Coupling:
    correlate, echo = section.needed("correlate"), section.needed("echo")
    coupling = Coupling(
        correlate_ours=correlate.text("ours"),
        correlate_theirs=correlate.text("theirs"),
        owner_of=section.words("owner_of"),
        conflict=section.text("conflict", pattern=CONFLICT),
        drop_own_origin=echo.flag("drop_own_origin", True),
        echo_window_ms=echo.duration("window", DAY_MS),
        hops_max=section.number("hops_max", low=1, high=16),
        reconcile=section.text("reconcile", pattern=RECONCILE),
    )
    for part in (correlate, echo, section):
        part.end()
    return coupling


def _account(section: Section) -> Account:
    account = Account(parse_rate(section.needed("rate")), section.text("by", ""))
    section.end()
    return account


def _lifecycle(section: Section) -> Lifecycle:
    section.text("default", "disabled", DEFAULT)  # rule L001 judges it
    disable, rollback = section.section("disable"), section.section("rollback")
    lifecycle = Lifecycle(
        enable_needs=section.texts("enable_needs", required=True),
        queued=disable.choice("queued", Queued) if disable else Queued.HOLD,
        keep_versions=rollback.number("keep_versions", low=0, high=100) if rollback else 1,
    )
    for part in (disable, rollback, section):
        if part:
            part.end()
    return lifecycle


def _check(section: Section) -> Check:
    check = Check(
        method=section.text("method", pattern=METHOD),
        to=section.text("to"),
        path=section.text("path"),
        expect=section.number("expect", low=200, high=499),
    )
    section.end()
    return check
