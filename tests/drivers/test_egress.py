"""The one way out: what it refuses, before and after a look-up, and that nothing is ever called then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import pytest
from loopback import CONNECTION, STORE, local_egress, request, serving, target
from test_addresses import LOOPBACK, METADATA, NAMES, PRIVATE, V6

from crossdock.drivers.egress import Egress, EgressFailure, EgressPolicy, HttpAnswer, path_allowed
from crossdock.model.attempt import AnswerKind
from crossdock.model.contract import Environment
from crossdock.model.errors import Invalid
from crossdock.model.ids import ConnectionId, StoreId
from crossdock.stores.ways import Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PRODUCTION = EgressPolicy(Environment.PRODUCTION)


def public_target(host: str = "api.acme.example", port: int = 443, scheme: str = "https") -> Target:
    return Target(scheme, host, port, ("POST",), ("/in",))


class Names:
    """A resolver that answers from a list, and dials nobody."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = answers, 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


class Watched(Egress):
    """Records whom it would dial, and refuses the call: no packet leaves a test."""

    def __init__(self, policy: EgressPolicy, resolver: Names) -> None:
        super().__init__(policy, resolver)
        self.dialled: list[str] = []

    async def _dial(self, loop: object, address: str, port: int, allowed: object) -> str:  # type: ignore[override]
        self.dialled.append(address)
        return "connect"


async def said(egress: Egress, to: Target, **other: object) -> tuple[AnswerKind, str]:
    one = await egress.request(request(to, **other))
    assert isinstance(one, EgressFailure)
    return one.kind, one.code


@pytest.mark.parametrize("address", sorted(set(LOOPBACK + METADATA + PRIVATE + V6)))
async def test_a_name_with_an_answer_that_is_not_public_is_never_called(address: str) -> None:
    for answers in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        egress = Watched(PRODUCTION, Names(answers))
        assert await said(egress, public_target()) == (AnswerKind.UNREACHABLE, "dns")
        assert isinstance(
            await egress.open_stream(STORE, CONNECTION, public_target("m.acme.example", 587, "smtp"), 1000),
            EgressFailure,
        )
        assert egress.dialled == []


@pytest.mark.parametrize("host", [*NAMES, *LOOPBACK, *METADATA, *PRIVATE, *V6], ids=ascii)
async def test_a_literal_or_crooked_host_is_not_even_looked_up(host: str) -> None:
    names = Names(["8.8.8.8"])
    egress = Watched(PRODUCTION, names)
    assert await said(egress, public_target(host)) == (AnswerKind.FORBIDDEN, "host")
    assert (names.asked, egress.dialled) == (0, [])


async def test_a_rebinding_name_is_refused_when_it_turns() -> None:
    egress = Watched(PRODUCTION, Names(["8.8.8.8"], ["127.0.0.1"]))
    assert [(await said(egress, public_target()))[1] for _ in range(3)] == ["connect", "dns", "dns"]
    assert egress.dialled == ["8.8.8.8"]


async def test_a_call_goes_to_the_very_address_that_was_vetted() -> None:
    names = Names(["8.8.8.8", "2606:4700::1111"])
    egress = Watched(PRODUCTION, names)
    await said(egress, public_target())
    assert (names.asked, egress.dialled) == (1, ["8.8.8.8", "2606:4700::1111"])


async def test_a_name_of_a_private_address_looks_like_no_name() -> None:
    private = (["10.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.0.0.1"], ["fd00::1"])
    seen = {await said(Watched(PRODUCTION, Names(one)), public_target()) for one in ([], *private)}
    assert seen == {(AnswerKind.UNREACHABLE, "dns")}


async def test_a_public_address_that_nobody_answers_at_is_told_apart() -> None:
    seen = await said(Watched(PRODUCTION, Names(["8.8.8.8"])), public_target())
    assert seen == (AnswerKind.UNREACHABLE, "connect")


async def test_a_canary_on_loopback_hears_nothing_by_any_forbidden_road() -> None:
    async with serving(OK) as canary:
        port = canary.port
        policy = EgressPolicy(
            Environment.LOCAL,
            loopback_allow=frozenset({("127.0.0.1", port + 1 if port < 65535 else 1)}),
            operator_hosts=frozenset({("rebind.acme.example", port)}),
        )
        egress = Egress(policy, Names(["127.0.0.1"]))
        roads = [
            Target("http", "127.0.0.1", port, ("POST",), ("/in",), ("127.0.0.1", port)),
            Target("http", "127.0.0.1", port, ("POST",), ("/in",)),
            Target("https", "127.0.0.1", port, ("POST",), ("/in",)),
            Target("https", "localhost", port, ("POST",), ("/in",)),
            Target("https", "rebind.acme.example", port, ("POST",), ("/in",)),
            Target("https", "api.acme.example", 443, ("POST",), ("/in",), ("::1", port)),
        ]
        for road in roads:
            assert isinstance(await egress.request(request(road)), EgressFailure)
            assert isinstance(await egress.open_stream(STORE, CONNECTION, road, 1_000), EgressFailure)
        assert canary.connections == 0


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize("scheme", ["http:", ""])
async def test_a_redirect_is_an_answer_and_is_never_followed(status: int, scheme: str) -> None:
    async with serving(OK) as canary:
        raw = f"HTTP/1.1 {status} Moved\r\nLocation: {scheme}//127.0.0.1:{canary.port}/in\r\nContent-Length: 0\r\n\r\n"
        async with serving(raw.encode()) as receiver, local_egress(receiver.port, canary.port) as egress:
            one = await egress.request(request(target(receiver.port)))
        assert isinstance(one, HttpAnswer)
        assert one.status == status
        assert (receiver.connections, canary.connections) == (1, 0)


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
def test_a_policy_with_loopback_cannot_be_made_outside_local(environment: Environment) -> None:
    with pytest.raises(Invalid, match="CD4050"):
        EgressPolicy(environment, loopback_allow=frozenset({("127.0.0.1", 8080)}))


@pytest.mark.parametrize("pair", [("10.0.0.1", 80), ("localhost", 80), ("169.254.169.254", 80), ("127.0.0.1", 0)])
def test_a_policy_allows_loopback_and_nothing_else(pair: tuple[str, int]) -> None:
    with pytest.raises(Invalid, match="CD4051"):
        EgressPolicy(Environment.LOCAL, loopback_allow=frozenset({pair}))


@pytest.mark.parametrize("environment", [Environment.LOCAL, Environment.STAGING])
async def test_outside_production_a_live_host_is_never_called(environment: Environment) -> None:
    policy = EgressPolicy(environment, live_hosts=frozenset({"api.acme.example"}))
    egress = Watched(policy, Names(["8.8.8.8"]))
    for host in ("api.acme.example", "API.acme.example"):
        assert (await said(egress, public_target(host)))[0] is AnswerKind.FORBIDDEN
    assert (await said(egress, target(1)))[0] is AnswerKind.FORBIDDEN
    assert egress.dialled == []


async def test_our_own_listening_address_is_never_called() -> None:
    egress = Watched(EgressPolicy(Environment.PRODUCTION, own=frozenset({("8.8.8.8", 443)})), Names(["8.8.8.8"]))
    assert await said(egress, public_target()) == (AnswerKind.UNREACHABLE, "dns")
    assert egress.dialled == []


@pytest.mark.parametrize(
    ("port", "ok"), [(443, True), (8443, True), (80, False), (22, False), (25, False), (9200, False)]
)
async def test_only_https_ports_are_called(port: int, ok: bool) -> None:
    egress = Watched(PRODUCTION, Names(["8.8.8.8"]))
    assert await said(egress, public_target(port=port)) == (
        (AnswerKind.UNREACHABLE, "connect") if ok else (AnswerKind.FORBIDDEN, "port")
    )
    assert bool(egress.dialled) is ok


async def test_plain_http_is_refused_without_the_operators_mapping() -> None:
    assert await said(Watched(PRODUCTION, Names(["8.8.8.8"])), public_target(scheme="http")) == (
        AnswerKind.FORBIDDEN,
        "scheme",
    )


async def test_a_method_or_path_that_the_contract_does_not_list_is_refused() -> None:
    async with serving(OK) as receiver, local_egress(receiver.port) as egress:
        for other in (
            {"method": "DELETE"},
            {"method": "HEAD"},
            {"path": "/out"},
            {"path": "/in/../in"},
            {"path": "in"},
        ):
            assert (await said(egress, target(receiver.port), **other))[0] is AnswerKind.FORBIDDEN
    assert receiver.connections == 0


CROOKED_HEADERS = [
    ("a b", "x"), ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "\u20ac"), ("Host", "x"), ("content-length", "3"),
    ("Transfer-Encoding", "chunked"), ("x\r\ny", "z"), ("", "x"), ("x", "a\x00"),
]  # fmt: skip


@pytest.mark.parametrize("header", CROOKED_HEADERS)
async def test_a_header_that_could_split_the_request_is_refused(header: tuple[str, str]) -> None:
    async with serving(OK) as receiver, local_egress(receiver.port) as egress:
        assert await said(egress, target(receiver.port), headers=(header,)) == (AnswerKind.UNRENDERABLE, "header")
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("path", "patterns", "allowed"),
    [
        ("/v3/items/A%2F1", ["/v3/items/{sku}"], True),
        ("/v3/items/a", ["/v3/items/*"], True),
        ("/v3/items/a?x=1", ["/v3/items/{sku}"], True),
        ("/hook?token=1", ["/hook?token=1"], True),
        ("/hook?token=2", ["/hook?token=1"], False),
        ("/v3/items/", ["/v3/items/{sku}"], False),
        ("/v3/items/a/b", ["/v3/items/{sku}"], False),
        ("/v3/items/..", ["/v3/items/{sku}"], False),
        ("/v3/items/%2e%2E", ["/v3/items/{sku}"], False),
        ("/v3/items/..%2Fadmin", ["/v3/items/{sku}"], False),
        ("/v3/items/..;x", ["/v3/items/{sku}"], False),
        ("/v3/items/a b", ["/v3/items/{sku}"], False),
        ("/v3/items/a#b", ["/v3/items/{sku}"], False),
        ("/v3/items/a\\b", ["/v3/items/{sku}"], False),
        ("/v3/items/a\r\nX: y", ["/v3/items/{sku}"], False),
        ("//evil.example/x", ["/{a}/{b}"], False),
        ("/x", [], False),
    ],
)
def test_a_path_is_covered_segment_by_segment(path: str, patterns: list[str], allowed: bool) -> None:
    assert path_allowed(path, patterns) is allowed


async def test_a_kept_connection_is_never_shared_between_stores_or_connections() -> None:
    async with serving(OK) as receiver, local_egress(receiver.port) as egress:
        to = target(receiver.port)
        for store, connection in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x"), ("b", "x")):
            await egress.request(request(to, store=StoreId(store), connection=ConnectionId(connection)))
    assert receiver.connections == 3


async def test_many_at_once_all_get_their_own_answer() -> None:
    async with serving(OK) as receiver, local_egress(receiver.port) as egress:
        outcomes = await asyncio.gather(*(egress.request(request(target(receiver.port))) for _ in range(80)))
    assert all(isinstance(one, HttpAnswer) and one.body == b"ok" for one in outcomes)
    assert len(receiver.requests) == 80


async def test_the_host_header_keeps_the_name_and_tls_verifies_it() -> None:
    async with serving(OK) as receiver, local_egress(receiver.port, tls=ssl.create_default_context()) as egress:
        await egress.request(request(target(receiver.port)))
        plain_behind_tls = await egress.request(request(target(receiver.port, scheme="https"), timeout_ms=150))
    assert "host: api.acme.example\r\n" in receiver.requests[0][0].lower()
    assert isinstance(plain_behind_tls, EgressFailure)
    assert (plain_behind_tls.kind, plain_behind_tls.code) == (AnswerKind.UNREACHABLE, "unreachable")


async def test_a_look_up_that_hangs_ends_at_the_deadline() -> None:
    async def hangs(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    assert await said(Egress(PRODUCTION, hangs), public_target(), timeout_ms=30) == (
        AnswerKind.UNREACHABLE,
        "unreachable",
    )


def test_the_environment_is_not_asked_for_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    async def run() -> list[str]:
        egress = Watched(PRODUCTION, Names(["8.8.8.8"]))
        await egress.request(request(public_target()))
        return egress.dialled

    assert asyncio.run(run()) == ["8.8.8.8"]


def test_a_request_shows_no_header_path_or_body() -> None:
    one = repr(request(target(1), headers=(("authorization", "Bearer hush"),), path="/hush", body=b"hush"))
    assert "hush" not in one
