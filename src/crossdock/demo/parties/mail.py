"""An SMTP server (aiosmtpd). What it took can be read on the HTTP port beside it."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from crossdock.demo.parties.party import options, until_told, with_record


class Mailbox:
    """One in twenty is told 451 first, as greylisting servers do."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, str]] = {}
        self.repeated = 0
        self.calls = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.calls += 1
        if self.calls % 20 == 0:
            return "451 4.7.1 try again later"
        message = message_from_bytes(envelope.original_content or b"")
        name = str(message["Message-ID"])
        self.repeated += name in self.messages
        self.messages[name] = {
            "to": ", ".join(envelope.rcpt_tos),
            "subject": str(message["Subject"]),
            "text": str(message.get_payload()),
        }
        return "250 2.0.0 taken"

    def record(self) -> dict[str, Any]:
        return {"messages": self.messages, "repeated": self.repeated}


async def run(http_port: int, smtp_port: int) -> None:
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="mail.example", loop=loop), "127.0.0.1", smtp_port)
    async with server:
        await until_told(http_port, with_record(web.Application(), box.record))


def main() -> None:
    given = options(__doc__ or "", smtp_port="where mail is taken")
    asyncio.run(run(given.port, int(given.smtp_port)))


if __name__ == "__main__":
    main()
