"""The URL of a PostgreSQL database, looked at but never shown: it may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from crossdock.model.errors import Invalid

SCHEMES = ("postgresql", "postgres")
WRITABLE = frozenset({"read-write", "primary"})
TLS_CHECKED = frozenset({"verify-ca", "verify-full"})
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9_.$%-]+")


def is_url(text: str) -> bool:
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


@dataclass(frozen=True, slots=True, repr=False)
class PostgresUrl:
    """`hosts` as they were written, none where the options name a socket; `database` may be empty."""

    hosts: tuple[str, ...]
    database: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> PostgresUrl:
        """ValueError for what is no such URL; what was given is not in it.

        Strict where the parts meet: with a password whose `/`, `@` or `#` is not encoded, a piece of it would else be
        taken for a host or a name, and shown."""
        try:
            parts = urlsplit(text)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise ValueError("it cannot be read as a URL") from None
        if parts.scheme not in SCHEMES:
            raise ValueError("a database is a file, or a postgresql:// URL")
        _, _, netloc = parts.netloc.rpartition("@")
        hosts = tuple(netloc.split(",")) if netloc else ()
        name = parts.path.removeprefix("/")
        unsound = parts.fragment or parts.netloc.count("@") > 1 or (name and not _NAME.fullmatch(name))
        if unsound or not all(_HOST.fullmatch(one) for one in hosts):
            raise ValueError("it cannot be read as a URL (in a password, write / @ : # ? % as %2F %40 %3A %23 %3F %25)")
        return cls(hosts, name, options)

    @property
    def shown(self) -> str:
        """Hosts and name alone."""
        hosts = ",".join(self.hosts) or self.options.get("host", "")
        return f"postgresql://{hosts}/{self.database}"

    @property
    def several(self) -> bool:
        return len(self.hosts) > 1 or "," in self.options.get("host", "")

    @property
    def tls_checked(self) -> bool:
        """Whether whoever answers has to show the certificate of the server that was meant."""
        return self.options.get("sslmode", "") in TLS_CHECKED

    def refuse_read_only(self, where: str) -> None:
        """Invalid (CD7008) where a server that takes no writes could answer: decisions are never read from one."""
        wanted = self.options.get("target_session_attrs")
        if wanted in WRITABLE or (wanted is None and not self.several):
            return
        raise Invalid(
            "CD7008",
            "A server that takes no writes could answer at this address."
            if wanted is None
            else "It asks for a server that need not take writes.",
            where=where,
            remedy="Say target_session_attrs=read-write (or primary) in the URL.",
        )
