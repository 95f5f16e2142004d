"""Rules X: what a contract may reach, with which secrets, and under whose authority."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crossdock.contracts.expressions import check, slots
from crossdock.contracts.finding import Finding
from crossdock.contracts.judged import Judged, Rule, Step, properties
from crossdock.model.contract import AuthScheme, Direction, Owner, Purpose, Route, Surface
from crossdock.model.errors import Invalid
from crossdock.model.limits import EXPRESSION_CHARS_MAX, MAPPING_CHARS_MAX, REPLAY_TOLERANCE_MS_MAX
from crossdock.signing import knobs_problems

SECRET_WORDS = re.compile(r"secret|password|passwd|token|api_?key|private_?key|credential", re.IGNORECASE)
ADDRESS_WORDS = re.compile(r"(?:^|_)(?:url|uri|host|hostname|domain|endpoint|address)$", re.IGNORECASE)
MAIL_FORMATS = ("email", "idn-email")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
INTERNAL = re.compile(
    r"(?:^|\.)(?:localhost|local|internal|intranet|lan|home|corp|private|localdomain|arpa|onion|svc|cluster)$"
)
DRIVERS: dict[str, frozenset[str]] = {
    "http-json/1": frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"}),
    "webhook/1": frozenset({"POST"}),
    "smtp/1": frozenset(),
    "core-push/1": frozenset(),
}
"""The drivers that exist, with the methods that each may use."""

SCOPES: dict[Direction, frozenset[str]] = {
    Direction.OUTBOUND: frozenset(
        {"orders:read", "products:read", "inventory:read", "customers:read", "customers.contact:read", "listings:read"}
    ),
    Direction.INBOUND: frozenset({"orders:create", "products:write", "inventory:write", "listings:write"}),
}
"""The most that a route of a direction may ask of a store: what leaves can only read, what enters can only write."""


def no_secret_in_config(judged: Judged) -> Iterator[Finding]:
    """X001"""
    for name in properties(judged.contract.config):
        if SECRET_WORDS.search(name):
            remedy = "Make it a credential: those are sealed and never shown."
            yield judged.at_key(
                "X001", ("config", "properties", name), f"The setting {name} looks like a secret.", remedy
            )


def no_address_from_a_store(judged: Judged) -> Iterator[Finding]:
    """X002"""
    custom = {one.store_url for one in judged.contract.destinations if one.store_url}
    if custom and judged.contract.purpose is not Purpose.WEBHOOK:
        name = next(one.name for one in judged.contract.destinations if one.store_url)
        yield judged.say(
            "X002",
            ("destinations", name),
            "Only a custom webhook (purpose: webhook) sends to an address that the store sets.",
            "Name the host in the contract.",
        )
    for url in custom - properties(judged.contract.config).keys():
        yield judged.at_key("X002", ("destinations",), f"store_url names no setting {url}.", "Add it to config.")
    for name, schema in properties(judged.contract.config).items():
        if name in custom or schema.get("format") in MAIL_FORMATS:
            continue
        if ADDRESS_WORDS.search(name) or schema.get("format") in ("uri", "hostname", "ipv4", "ipv6", "uri-reference"):
            yield judged.at_key(
                "X002",
                ("config", "properties", name),
                f"The setting {name} is an address.",
                "Name hosts in destinations.",
            )


def secrets_are_rotated(judged: Judged) -> Iterator[Finding]:
    """X003"""
    for slot in judged.contract.credentials:
        if slot.secret and not slot.managed and slot.rotate_ms is None:
            yield judged.at_key(
                "X003", ("credentials", slot.name), f"The secret {slot.name} is never rotated.", "Add rotate: P180D."
            )


def hosts_are_public_names(judged: Judged) -> Iterator[Finding]:
    """X010 wildcard or malformed, X011 address, X012 internal, X013 template, X017 sandbox equals live"""
    for one in judged.contract.destinations:
        at: tuple[Step, ...] = ("destinations", one.name)
        for kind, host in (("live", one.live), ("sandbox", one.sandbox)):
            if host:
                yield from _host(judged, (*at, kind), host)
        if one.live and one.live == one.sandbox:
            message = "The sandbox is the live host, so a trial would reach the real one."
            yield judged.say("X017", (*at, "sandbox"), message, "Name another host.")


def _host(judged: Judged, at: tuple[Step, ...], host: str) -> Iterator[Finding]:
    if "{" in host:
        yield judged.say("X013", at, "A host is made by a template.", "Write the whole host out.")
    elif re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?|0x[0-9a-fA-F]+", host):
        yield judged.say("X011", at, "A host is an address.", "Name it: addresses change, names are checked.")
    elif INTERNAL.search(host):
        yield judged.say("X012", at, "A host is internal.", "A store's data goes to public names only.")
    elif HOST.fullmatch(host) is None:
        yield judged.say("X010", at, "A host is not one literal name (lower case, no wildcard).", "Write it out.")


def calls_stay_on_the_list(judged: Judged) -> Iterator[Finding]:
    """X014 destination, X015 method, X016 path"""
    for index, route in judged.routes():
        at: tuple[Step, ...] = ("routes", index)
        if route.request is not None:
            yield from _call(judged, (*at, "request"), route.request.to, route.request.method, route.request.path)
        if route.mail is not None:
            yield from _call(judged, (*at, "mail"), route.mail.to_destination, "", "")
        if route.webhook_to:
            yield from _call(judged, (*at, "webhook"), route.webhook_to, "POST", "")
    one = judged.contract.check
    if one is not None:
        yield from _call(judged, ("check",), one.to, one.method, one.path)


def _call(judged: Judged, at: tuple[Step, ...], to: str, method: str, path: str) -> Iterator[Finding]:
    target = judged.contract.destination(to)
    if target is None:
        names = ", ".join(one.name for one in judged.contract.destinations) or "none"
        yield judged.say("X014", (*at, "to"), "There is no such destination.", f"Destinations: {names}.")
        return
    if method and method not in target.methods:
        remedy = f"Add {method} to destinations.{to}.methods."
        yield judged.say("X015", (*at, "method"), f"{to} does not list the method {method}.", remedy)
    if path and path.partition("?")[0] not in target.paths:
        remedy = f"Add the path to destinations.{to}.paths."
        yield judged.say("X016", (*at, "path"), f"{to} does not list this path.", remedy)


def order_starts_with_the_store(judged: Judged) -> Iterator[Finding]:
    """X020"""
    for index, _ in judged.routes():
        items = judged.root.at("routes", index, "ordering_key").items
        if items and items[0].value != "store":
            yield judged.say(
                "X020", ("routes", index, "ordering_key"), "The ordering key does not start with store.", "[store, ...]"
            )


def secrets_are_declared(judged: Judged) -> Iterator[Finding]:
    """X031"""
    named = list(_named_secrets(judged))
    for at, name in named:
        slot = judged.contract.slot(name)
        if slot is None or not slot.secret:
            yield judged.say("X031", at, "This names no secret of credentials.", "Declare it there, type: secret.")
    used = {name for _, name in named} | {judged.contract.auth.username}
    for slot in judged.contract.credentials:
        if slot.name not in used:
            yield judged.at_key("X031", ("credentials", slot.name), f"Nothing uses {slot.name}.", "Remove it.")


def _named_secrets(judged: Judged) -> Iterator[tuple[tuple[Step, ...], str]]:
    if judged.contract.auth.scheme is not AuthScheme.NONE:
        yield ("auth", "secret"), judged.contract.auth.secret
    for index, route in judged.routes():
        if route.source is not None:
            yield ("routes", index, "source", "secret"), route.source.secret
        if route.webhook_to:
            yield ("routes", index, "webhook", "secret"), route.webhook_secret


def webhooks_are_signed(judged: Judged) -> Iterator[Finding]:
    """X030 knobs of the scheme, X032 tolerance"""
    for index, route in judged.routes(Direction.INBOUND):
        source = route.source
        if source is None:
            continue
        at: tuple[Step, ...] = ("routes", index, "source")
        for problem in knobs_problems(source.verify, source.knobs):
            yield judged.say(
                "X030", (*at, "knobs"), f"The signature check is unsound: {problem}.", "Correct the knobs."
            )
        if not 0 < source.tolerance_ms <= REPLAY_TOLERANCE_MS_MAX:
            yield judged.say("X032", (*at, "tolerance"), "The replay tolerance is not 1 s to 10 min.", "Write PT5M.")
        if bool(source.topic_header) != bool(source.topics):
            yield judged.say("X030", at, "topic_header and topics belong together.", "Write both, or none.")


def platform_and_store_stay_apart(judged: Judged) -> Iterator[Finding]:
    """X040 store on the platform surface, X041 platform with store data"""
    contract = judged.contract
    if contract.owner is Owner.STORE and contract.surface is Surface.PLATFORM:
        yield judged.say(
            "X040", ("surface",), "A store's integration is not on the platform surface.", "Choose another."
        )
    if contract.owner is not Owner.PLATFORM:
        return
    for index, route in judged.routes():
        if not route.event.type.startswith("platform."):
            message = "An integration of the platform names an event of a store's business."
            yield judged.say("X041", ("routes", index, "event", "type"), message, "Let the store own it.")
    if contract.credentials:
        message = "An integration of the platform asks a store for secrets."
        yield judged.at_key("X041", ("credentials",), message, "Let the store own it.")


def scopes_are_needed_and_allowed(judged: Judged) -> Iterator[Finding]:
    """X050"""
    used: set[str] = set()
    for index, route in judged.routes():
        used |= set(route.scopes)
        at: tuple[Step, ...] = ("routes", index, "scopes")
        if not route.scopes:
            yield judged.say("X050", ("routes", index, "name"), "The route names no scope.", "Add `scopes:`.")
        for scope in sorted(set(route.scopes) - SCOPES[route.direction]):
            message = f"An {route.direction} route cannot have the scope {scope[:60]}."
            yield judged.say("X050", at, message, f"It can have: {', '.join(sorted(SCOPES[route.direction]))}.")
        for scope in sorted(set(route.scopes) - set(judged.contract.scopes)):
            yield judged.say("X050", at, f"The contract does not list the scope {scope[:60]}.", "Add it to scopes.")
        if route.driver not in DRIVERS:
            known = ", ".join(sorted(DRIVERS))
            yield judged.say("X050", ("routes", index, "driver"), "There is no such driver.", f"Drivers: {known}.")
    for scope in sorted(set(judged.contract.scopes) - used):
        yield judged.say("X050", ("scopes",), f"No route uses the scope {scope[:60]}.", "Remove it.")


def _expressions(route: Route) -> Iterator[tuple[tuple[Step, ...], str, int]]:
    if route.when:
        yield ("when",), route.when, EXPRESSION_CHARS_MAX
    if route.mapping:
        yield ("map",), route.mapping, MAPPING_CHARS_MAX
    if route.request is not None and route.request.mapping:
        yield ("request", "map"), route.request.mapping, MAPPING_CHARS_MAX
    if route.request is not None and route.request.item_id:
        yield ("request", "item_id"), route.request.item_id, EXPRESSION_CHARS_MAX
    if route.batch is not None and route.batch.results:
        yield ("batch", "results"), route.batch.results, EXPRESSION_CHARS_MAX


def _templates(route: Route) -> Iterator[tuple[tuple[Step, ...], str]]:
    if route.request is not None:
        yield ("request", "path"), route.request.path
        yield from ((("request", "headers", name), text) for name, text in route.request.headers.items())
    if route.mail is not None:
        yield ("mail", "sender"), route.mail.sender
        yield ("mail", "recipient"), route.mail.recipient
        yield ("mail", "subject"), route.mail.subject
        yield ("mail", "text"), route.mail.text


def expressions_are_sound(judged: Judged) -> Iterator[Finding]:
    """X060"""
    for index, route in judged.routes():
        for at, expression, chars_max in _expressions(route):
            try:
                check(expression, chars_max)
            except Invalid as error:
                yield judged.say("X060", ("routes", index, *at), error.message, error.remedy)
        for at, template in _templates(route):
            try:
                names = slots(template)
            except Invalid as error:
                yield judged.say("X060", ("routes", index, *at), error.message, error.remedy)
                continue
            for name in names:
                if not _nameable(judged, route, name):
                    message = f"The template names {name}, which is no listed field and no setting."
                    yield judged.say("X060", ("routes", index, *at), message, "List the field, or drop the name.")


def _nameable(judged: Judged, route: Route, name: str) -> bool:
    head, _, rest = name.partition(".")
    if head == "config":
        return rest in properties(judged.contract.config)
    if head == "event":
        return rest in ("id", "type", "source", "time", "key", "idempotency_key", "correlation_id")
    pointer = "/" + (rest if head == "data" else name).replace(".", "/")
    return any(pointer == rule.pointer or pointer.startswith(rule.pointer + "/") for rule in route.fields)


RULES: tuple[Rule, ...] = (
    no_secret_in_config,
    no_address_from_a_store,
    secrets_are_rotated,
    hosts_are_public_names,
    calls_stay_on_the_list,
    order_starts_with_the_store,
    webhooks_are_signed,
    secrets_are_declared,
    platform_and_store_stay_apart,
    scopes_are_needed_and_allowed,
    expressions_are_sound,
)
