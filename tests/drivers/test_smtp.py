"""smtp/1 against aiosmtpd and against servers that say any code, over real sockets."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult
from driver_samples import NOW, RULE, parcel, way
from hypothesis import given
from hypothesis import strategies as st
from loopback import local_egress, turns

from crossdock.credentials.secret import Secret
from crossdock.drivers.smtp import Letter, Smtp, answer_of_code, render
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import Auth, AuthScheme, Mail
from crossdock.stores.ways import Target, Way

MAIL = Mail(
    "relay", "{config.from_address}", "{email}", "Order {order_id} placed", "Thank you, {name}.\nTotal {total}."
)
DATA = {"email": "ann@buyer.example", "order_id": "1001", "name": "Ann \u00c5", "total": 19.99}


def relay(port: int, connect: bool = True) -> Target:
    return Target("smtp", "mail.acme.example", 587, (), (), ("127.0.0.1", port) if connect else None)


def mail_way(port: int, mail: Mail = MAIL, **other: object) -> Way:
    return way(**{"targets": {"relay": relay(port)}, "mail": mail, **other})  # type: ignore[arg-type]


class Box:
    def __init__(self, **replies: str) -> None:
        self.replies, self.mails = replies, []  # type: ignore[var-annotated]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.replies.get("rcpt", "250 OK")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return self.replies.get("data", "250 OK")


@asynccontextmanager
async def mailbox(box: Box, **options: Any) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(box, loop=loop, hostname="mail.test", **options), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await turns()


async def send(port: int, one: Way, *parcels: Any) -> Answer:
    async with local_egress(port) as egress:
        (answer,) = await Smtp(egress).deliver(one, parcels or (parcel(data=DATA),), NOW)
        return answer


async def test_a_mail_arrives_whole() -> None:
    box = Box()
    async with mailbox(box) as port:
        answer = await send(port, mail_way(port))
    assert (answer.kind, answer.code, answer.status) == (AnswerKind.TAKEN, "smtp_250", 250)
    ((sender, recipients, raw),) = box.mails
    assert (sender, recipients) == ("shop@north.example", ["ann@buyer.example"])
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert (message["To"], message["Subject"]) == ("ann@buyer.example", "Order 1001 placed")
    assert message.get_content().replace("\r\n", "\n") == "Thank you, Ann \u00c5.\nTotal 19.99.\n"


async def test_a_mail_sent_again_is_recognisable() -> None:
    box = Box()
    async with mailbox(box) as port:
        for attempt in (1, 2):
            await send(port, mail_way(port), parcel(data=DATA, attempt=attempt))
        await send(port, mail_way(port), parcel(2, data=DATA))
    first, second, other = (email.message_from_bytes(raw)["Message-ID"] for _, _, raw in box.mails)
    assert first == second != other
    assert box.mails[0] == box.mails[1]


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ({"rcpt": "451 later"}, AnswerKind.BUSY),
        ({"rcpt": "550 no such user"}, AnswerKind.REJECTED),
        ({"data": "452 full"}, AnswerKind.BUSY),
        ({"data": "554 spam"}, AnswerKind.REJECTED),
        ({"data": "530 authenticate"}, AnswerKind.UNAUTHORISED),
        ({"rcpt": "422 odd but listed"}, AnswerKind.REJECTED),
    ],
)
async def test_a_refusal_is_told_by_its_code(replies: dict[str, str], kind: AnswerKind) -> None:
    async with mailbox(Box(**replies)) as port:
        answer = await send(port, mail_way(port))
    assert (answer.kind, answer.code) == (kind, f"smtp_{next(iter(replies.values()))[:3]}")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # aiosmtpd, of its own loopback
@pytest.mark.parametrize(("password", "kind"), [(b"right", AnswerKind.TAKEN), (b"wrong", AnswerKind.UNAUTHORISED)])
async def test_a_login_is_used(password: bytes, kind: AnswerKind) -> None:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"u", b"right"), handled=False)

    one = {
        "auth": Auth(AuthScheme.BASIC, "token", username="user"),
        "secrets": {"token": (Secret(password),), "user": (Secret(b"u"),)},
    }
    async with mailbox(Box(), authenticator=check, auth_require_tls=False, auth_required=True) as port:
        assert (await send(port, mail_way(port, **one))).kind is kind


async def test_without_its_credential_nothing_is_sent() -> None:
    box = Box()
    async with mailbox(box) as port:
        answer = await send(port, mail_way(port, auth=Auth(AuthScheme.BASIC, "token", username="user")))
    assert (answer.kind, box.mails) == (AnswerKind.UNAUTHORISED, [])


async def test_a_closed_port_a_rude_server_and_a_silent_one() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 what\r\n")
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    seen = []
    for script in (rude, silent):
        server = await asyncio.start_server(script, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        one = mail_way(port)
        object.__setattr__(one.route.delivery, "timeout_ms", 100)
        seen.append((await send(port, one)).kind)
        server.close()
        await turns()
    seen.append((await send(port, one)).kind)
    assert seen == [AnswerKind.UNREACHABLE, AnswerKind.TIMEOUT, AnswerKind.UNREACHABLE]


@pytest.mark.parametrize(
    "address",
    ["a@b.example\r\nBcc: x@y.example", "a@b.example, x@y.example", "Ann <a@b.example>", "a@b.example\n", "", "a",
     "a@b@c.example", "\u00e5@b.example", "a b@c.example", "@c.example", "a@", "<a@b.example>", "a@b.example>x",
     "a@-b"],
)  # fmt: skip
def test_an_address_that_is_not_one_plain_address_is_unrenderable(address: str) -> None:
    letter = render(mail_way(1), parcel(data={**DATA, "email": address}))
    if address == "a@b.example\n":
        assert isinstance(letter, Letter)  # surrounding space is not the sender's fault
        assert letter.recipient == "a@b.example"
    else:
        assert isinstance(letter, Answer)
        assert letter.kind is AnswerKind.UNRENDERABLE


def test_line_ends_in_a_subject_become_spaces() -> None:
    letter = render(mail_way(1), parcel(data={**DATA, "order_id": "10\r\n01"}))
    assert isinstance(letter, Letter)
    assert letter.message["Subject"] == "Order 10 01 placed"


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_adds_a_header(order_id: str, name: str) -> None:
    letter = render(mail_way(1), parcel(data={**DATA, "order_id": order_id + "\r\nBcc: evil@x.example", "name": name}))
    if isinstance(letter, Letter):
        message = email.message_from_bytes(letter.message.as_bytes())
        assert message["Bcc"] is None
        assert {key.lower() for key in message} <= {
            "from",
            "to",
            "subject",
            "date",
            "message-id",
            "auto-submitted",
            "content-type",
            "content-transfer-encoding",
            "mime-version",
        }


def test_a_missing_field_is_unrenderable_and_a_letter_shows_nothing() -> None:
    answer = render(mail_way(1), parcel(data={"email": "a@b.example"}))
    assert isinstance(answer, Answer)
    assert answer.kind is AnswerKind.UNRENDERABLE
    assert "ann@" not in repr(render(mail_way(1), parcel(data=DATA)))


@given(st.integers(-1, 1000))
def test_every_code_has_a_meaning(code: int) -> None:
    kind, _, _ = answer_of_code(code, RULE)
    assert (kind is AnswerKind.TAKEN) == (200 <= code <= 299)


async def test_without_the_operators_mapping_tls_is_required() -> None:
    box = Box()
    async with mailbox(box) as port, local_egress(port) as egress:
        found = await egress.open_stream(
            way(targets={}).lane.store, way(targets={}).lane.connection, relay(port), 1_000
        )
        assert isinstance(found, socket.socket)
        letter = render(mail_way(port), parcel(data=DATA))
        assert isinstance(letter, Letter)
        kind, code, _ = await Smtp(egress)._send(found, relay(port, connect=False), letter, ("", ""), RULE)
    assert (kind, code, box.mails) == (AnswerKind.UNREACHABLE, "unreachable", [])


def test_it_works_on_the_loop_that_serves() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not for this platform")

    async def one() -> Answer:
        async with mailbox(Box()) as port:
            return await send(port, mail_way(port))

    assert uvloop.run(one()).kind is AnswerKind.TAKEN
