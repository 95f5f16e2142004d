"""`smtp/1`: one mail per event, over a socket that the egress vetted.

The message is made by `email.message.EmailMessage` with the SMTP policy, which folds and encodes; addresses with line
ends, several addresses, or more than ASCII in them are refused before. TLS is required (STARTTLS, or from the start on
port 465); only the operator's loopback mapping goes without when the server offers none. The Message-ID is made of the
event's id, so a mail that was taken twice can be seen to be one. One connection per message: a mail is rare beside its
cost, and nothing of one store is left behind for another.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate
from typing import cast

import aiosmtplib

from crossdock.contracts.expressions import fill
from crossdock.delivery.driver import Parcel
from crossdock.drivers.egress import Egress, EgressFailure
from crossdock.drivers.http_json import document
from crossdock.model.attempt import Answer, AnswerKind
from crossdock.model.contract import AuthScheme, RetryRule
from crossdock.model.errors import Refused
from crossdock.model.ids import Instant, JsonObject
from crossdock.stores.ways import Target, Way

IMPLICIT_TLS_PORT = 465  # RFC 8314
AUTH_CODES = frozenset({432, 454, 530, 534, 535, 538})  # RFC 4954 section 6
CONNECT_SHARE = 0.5  # of the time for a message, at most, goes into the connection
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Letter:
    sender: str = field(repr=False)
    recipient: str = field(repr=False)
    message: EmailMessage = field(repr=False)


class Smtp:
    """`tls` replaces the system's trust store. `name_of_ours` is what we say in EHLO."""

    name = "smtp/1"

    def __init__(
        self, egress: Egress, tls: ssl.SSLContext | None = None, name_of_ours: str = "crossdock.invalid"
    ) -> None:
        self._egress = egress
        self._tls = tls or ssl.create_default_context()
        self._name_of_ours = name_of_ours

    async def deliver(self, way: Way, parcels: tuple[Parcel, ...], now: Instant) -> tuple[Answer, ...]:
        return tuple([await self._one(way, parcel) for parcel in parcels])

    async def _one(self, way: Way, parcel: Parcel) -> Answer:
        target = way.targets.get(way.route.mail.to_destination) if way.route.mail is not None else None
        if target is None or target.scheme != "smtp":
            return Answer(AnswerKind.FORBIDDEN, "destination_unknown", 0)
        login = login_of(way)
        if login is None:
            return Answer(AnswerKind.UNAUTHORISED, "credential_missing", 0)
        letter = render(way, parcel)
        if isinstance(letter, Answer):
            return letter
        loop = asyncio.get_running_loop()
        began = loop.time()
        timeout_ms = way.route.delivery.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                found = await self._egress.open_stream(
                    way.lane.store, way.lane.connection, target, int(timeout_ms * CONNECT_SHARE)
                )
                if isinstance(found, EgressFailure):
                    kind, code, status = found.kind, found.code, None
                else:
                    kind, code, status = await self._send(found, target, letter, login, way.route.retry)
        except TimeoutError:
            kind, code, status = AnswerKind.TIMEOUT, "timeout", None
        return Answer(kind, code, int((loop.time() - began) * 1000), status)

    async def _send(
        self, sock: socket.socket, target: Target, letter: Letter, login: tuple[str, str], rule: RetryRule
    ) -> tuple[AnswerKind, str, int | None]:
        client = aiosmtplib.SMTP(
            hostname=target.host,
            sock=sock,
            local_hostname=self._name_of_ours,
            use_tls=target.port == IMPLICIT_TLS_PORT and target.connect_to is None,
            start_tls=False if target.port == IMPLICIT_TLS_PORT and target.connect_to is None else _starts_tls(target),
            tls_context=self._tls,
            timeout=None,  # the caller's deadline holds for everything
        )
        try:
            await client.connect()
            if login[0]:
                await client.login(*login)
            await client.send_message(letter.message, sender=letter.sender, recipients=[letter.recipient])
        except aiosmtplib.SMTPResponseException as error:
            return answer_of_code(error.code, rule)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return answer_of_code(error.recipients[0].code, rule)
        except (aiosmtplib.SMTPException, OSError, ssl.CertificateError, ValueError):
            return AnswerKind.UNREACHABLE, "unreachable", None
        finally:
            if client.transport is None:
                sock.close()  # nothing took it over
            else:
                # Polite, and nothing hangs on its answer. uvloop's transport is one by behaviour only.
                cast(asyncio.WriteTransport, client.transport).write(b"QUIT\r\n")
            client.close()
        return AnswerKind.TAKEN, "smtp_250", 250


def _starts_tls(target: Target) -> bool | None:
    """Required, except that the operator's own loopback may do without if the server does not offer it."""
    return None if target.connect_to is not None else True


def answer_of_code(code: int, rule: RetryRule) -> tuple[AnswerKind, str, int | None]:
    """What an SMTP reply code means (RFC 5321 section 4.2.1); the contract's own lists come first."""
    text = f"smtp_{code}"
    if code in rule.permanent:
        return AnswerKind.REJECTED, text, code
    if code in AUTH_CODES or code in rule.auth:
        return AnswerKind.UNAUTHORISED, text, code
    if 200 <= code <= 299:
        return AnswerKind.TAKEN, text, code
    if 400 <= code <= 499:
        return AnswerKind.BUSY, text, code
    if 500 <= code <= 599:
        return AnswerKind.REJECTED, text, code
    return AnswerKind.UNREACHABLE, "unreachable", None


def login_of(way: Way) -> tuple[str, str] | None:
    """(user, password), ('', '') where the contract asks for none; None while a credential is missing."""
    auth = way.contract.auth
    if auth.scheme is AuthScheme.NONE:
        return "", ""
    secrets = way.secrets.get(auth.secret, ())
    users = way.secrets.get(auth.username, ())
    if not secrets:
        slot = way.contract.slot(auth.secret)
        return ("", "") if slot is not None and slot.optional else None
    user = users[0].reveal().decode() if users else auth.username
    return user, secrets[0].reveal().decode()


def render(way: Way, parcel: Parcel) -> Letter | Answer:
    """The message; the same parcel gives the same message at every try."""
    mail = way.route.mail
    if mail is None:
        return Answer(AnswerKind.FORBIDDEN, "destination_unknown", 0)
    names: JsonObject = {**parcel.data, **document(way, parcel)}
    try:
        sender, recipient = fill(mail.sender, names).strip(), fill(mail.recipient, names).strip()
        subject, text = fill(mail.subject, names), fill(mail.text, names)
        if not _ADDRESS.fullmatch(sender) or not _ADDRESS.fullmatch(recipient):
            return Answer(AnswerKind.UNRENDERABLE, "address", 0)
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = Address(addr_spec=sender)
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = " ".join(subject.split())
        message["Date"] = formatdate(parcel.occurred_at / 1000)
        message["Message-ID"] = message_id(way, parcel, sender)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes, please
        message.set_content(text)
    except (Refused, ValueError, TypeError, IndexError, UnicodeError):
        return Answer(AnswerKind.UNRENDERABLE, "mail", 0)
    return Letter(sender, recipient, message)


def message_id(way: Way, parcel: Parcel, sender: str) -> str:
    """Stable over tries, and different per store, connection and event."""
    place = f"{way.lane}\n{parcel.source}\n{parcel.event_id}".encode()
    return f"<{hashlib.sha256(place).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"
