"""The operator's settings: environment variables `CROSSDOCK_*`, read once at the start, each with its meaning.

What is unsafe together is refused at the start, with the reason; there is no default secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from crossdock.databases import PostgresUrl, is_url
from crossdock.model.contract import Environment
from crossdock.model.errors import Bug, Invalid

PREFIX = "CROSSDOCK_"


class ProcessRole(StrEnum):
    """What a process does. `ingest` takes events in, `deliver` sends them out, `api` is the management API and the
    core's inbox; `all` is everything in one."""

    ALL = "all"
    INGEST = "ingest"
    DELIVER = "deliver"
    API = "api"


class Settings(BaseSettings):
    """One line per setting; `settings_table` prints them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    environment: Environment = Field(
        Environment.LOCAL, description="local, staging or production. Only production calls live hosts."
    )
    data_dir: Path = Field(Path("var"), description="Where the database, the root key and the first token live.")
    database: SecretStr | None = Field(
        None,
        description="A SQLite file, or the postgresql:// URL of the runtime role; else `crossdock.db` in data_dir.",
    )
    database_owner: SecretStr | None = Field(
        None, description="The postgresql:// URL of the schema's owner. For `crossdock db` alone: a server needs none."
    )
    database_connections: int = Field(
        8, ge=3, le=64, description="How many connections to PostgreSQL one process opens at most."
    )
    cells: SecretStr | None = Field(
        None, description="`name=postgresql://..., ...`: several databases, each with stores of its own."
    )
    directory: SecretStr | None = Field(
        None, description="The postgresql:// URL of the directory that says which cell a store is in."
    )
    cell: str = Field("", description="The one cell that this process works for. Whoever delivers needs it.")
    new_stores_cell: str = Field("", description="The cell of new stores; else the one with the fewest.")
    role: ProcessRole = Field(
        ProcessRole.ALL, description="What this process does: all, ingest, deliver or api. SQLite has only all."
    )
    workers: int = Field(1, ge=1, le=64, description="How many processes serve the port. SQLite has only 1.")
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8400, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    listen_beyond_loopback: bool = Field(
        False, description="Must be true to listen on an address that other machines reach. Put TLS in front."
    )
    public_url: str = Field("", description="How senders reach this installation, for the addresses that it shows.")
    root_key: SecretStr | None = Field(None, description="The root key: base64 of 32 random bytes. Or root_key_file.")
    root_key_file: Path | None = Field(
        None, description="A file with the root key, mode 0600. In local, data_dir/root.key is made at the first start."
    )
    host_map: Annotated[Mapping[str, str], NoDecode] = Field(
        default_factory=dict, description="local only: `host=127.0.0.1:port, ...` leads a contract's host to loopback."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of your proxies: their X-Forwarded-For says who a request is from."
    )
    loopback_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="local only: `127.0.0.1:port, ...` that a store's or the core's URL may name."
    )
    operator_hosts: Annotated[Mapping[str, str], NoDecode] = Field(
        default_factory=dict, description="`name=host[:port], ...` for hosts that contracts leave to the operator."
    )
    contracts_dir: Path | None = Field(None, description="Contracts of your own, beside the shipped catalogue.")
    log_format: Literal["text", "json"] = Field("text", description="How log lines are written: text or json.")
    drain_seconds: int = Field(20, ge=0, le=300, description="How long a stopping process lets deliveries finish.")

    @property
    def engine_name(self) -> Literal["sqlite", "postgres"]:
        return "sqlite" if self.postgres_url is None else "postgres"

    @property
    def postgres_url(self) -> str | None:
        """The URL of the runtime role, with cells that of this process's cell or the first; None with SQLite. It may
        hold a password: never show it."""
        cells = self.cell_urls
        if cells:
            return cells.get(self.cell) or next(iter(cells.values()))
        given = _plain(self.database)
        return given if is_url(given) else None

    @property
    def cell_urls(self) -> dict[str, str]:
        """The URL of each cell, in the order of the setting; none without cells. As secret as the others."""
        return cells_of(_plain(self.cells))

    @property
    def directory_url(self) -> str:
        """'' where there is none."""
        return _plain(self.directory)

    @property
    def spans_cells(self) -> bool:
        """Whether this process works for every cell."""
        return self.cells is not None and not self.cell

    @property
    def postgres_owner_url(self) -> str | None:
        """The URL of the schema's owner, as secret as the other."""
        return _plain(self.database_owner) or None

    @property
    def database_path(self) -> Path:
        """The SQLite file. Bug (CD5035) on PostgreSQL: there is none."""
        if self.postgres_url is not None:
            raise Bug("CD5035", "The SQLite file of an installation on PostgreSQL was asked for.")
        given = _plain(self.database).removeprefix("sqlite:")
        return Path(given) if given else self.data_dir / "crossdock.db"

    @property
    def database_shown(self) -> str:
        """Which database it is, fit for a line or an error: a path, or a URL without user, password and options."""
        url = self.postgres_url
        return str(self.database_path) if url is None else PostgresUrl.parse(url).shown

    @property
    def key_path(self) -> Path:
        return self.root_key_file or self.data_dir / "root.key"

    @property
    def mapped(self) -> dict[str, tuple[str, int]]:
        """host_map with its addresses split; Invalid (CD7004) for one that is not loopback."""
        return {host: loopback(where, "host_map") for host, where in self.host_map.items()}

    @property
    def loopback_pairs(self) -> frozenset[tuple[str, int]]:
        """Every loopback (address, port) that something may be led to."""
        listed = {loopback(where, "loopback_allow") for where in self.loopback_allow}
        return frozenset(listed | set(self.mapped.values()))

    @field_validator("database", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("database", "database_owner")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if "://" in _plain(value):
            PostgresUrl.parse(_plain(value))
        return value

    @field_validator("cells", "directory")
    @classmethod
    def _cells(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        given = _plain(value)
        for url in (cells_of(given).values() if info.field_name == "cells" else [given]) if given else ():
            PostgresUrl.parse(url)
        return value

    @field_validator("database_owner")
    @classmethod
    def _owner(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_url(_plain(value)):
            raise ValueError("it is no postgresql:// URL")
        return value

    @field_validator("host_map", "operator_hosts", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if any(not name.strip() or not where.strip() for name, _, where in pairs):
            raise ValueError("It is a list of name=value, with commas between")
        return {name.strip(): where.strip() for name, _, where in pairs}

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(ipaddress.ip_network(one).prefixlen == 0 for one in value):
            raise ValueError("it trusts everybody")
        return value

    @field_validator("loopback_allow", "trusted_proxies", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def read_settings(**given: object) -> Settings:
    """The settings of this process; `given` wins over the environment. Invalid CD7001 (unsafe together), CD7003
    (listens too widely), CD7004 (cannot be read), CD7007 (more than one process on a file), CD7008 (a database that
    cannot be written)."""
    settings = _read(given)
    if isinstance(settings, Invalid):
        # Raised out here, so that not even its context holds what was given: that may be a key or a password.
        raise settings
    _refuse_unsafe(settings)
    return settings


def _read(given: Mapping[str, object]) -> Settings | Invalid:
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        return _unreadable(PREFIX + name.upper(), first["msg"])
    except SettingsError:
        return _unreadable(PREFIX + "*", "a value cannot be parsed")


def loopback(where: str, setting: str) -> tuple[str, int]:
    """`127.0.0.1:port` or `[::1]:port`, split; Invalid (CD7004) for anything else."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    if not is_loopback(host) or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise _unreadable(PREFIX + setting.upper(), "it must name loopback addresses as 127.0.0.1:port")
    return host, int(port)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_unsafe(settings: Settings) -> None:
    local = settings.environment is Environment.LOCAL
    if not local and (settings.host_map or settings.loopback_allow):
        raise Invalid(
            "CD7001",
            f"Loopback allowances are for the local environment, and this one is {settings.environment}.",
            where=f"{PREFIX}{'HOST_MAP' if settings.host_map else 'LOOPBACK_ALLOW'}",
            remedy="Unset host_map and loopback_allow, or run as local.",
        )
    if settings.root_key is not None and settings.root_key_file is not None:
        raise Invalid(
            "CD7001",
            "Both root_key and root_key_file are set, and only one can be the root key.",
            where=f"{PREFIX}ROOT_KEY",
            remedy="Unset one of them.",
        )
    if not is_loopback(settings.host) and not settings.listen_beyond_loopback:
        raise Invalid(
            "CD7003",
            "This address is reached by other machines, and that has not been asked for.",
            where=f"{PREFIX}HOST",
            remedy=f"Listen on 127.0.0.1, or set {PREFIX}LISTEN_BEYOND_LOOPBACK=true and put TLS in front.",
        )
    _refuse_database(settings)
    _ = settings.loopback_pairs  # refused now, not at the first delivery


_NEXT_CELL = re.compile(r",\s*(?=[a-z0-9-]+=postgres)")
_CELL = re.compile(r"([a-z0-9][a-z0-9-]{0,30})=(postgres(?:ql)?://(?:(?!://)\S)+)")


def cells_of(text: str) -> dict[str, str]:
    """`name=url, name=url` as a mapping; ValueError where it is something else. A URL may name several hosts."""
    found: dict[str, str] = {}
    for part in _NEXT_CELL.split(text.strip()) if text.strip() else ():
        one = _CELL.fullmatch(part.strip())
        if one is None or one[1] in found:
            raise ValueError("cells are a list of name=postgresql://..., with commas between, and each name once")
        found[one[1]] = one[2]
    return found


def _refuse_cells(settings: Settings) -> None:
    cells = settings.cell_urls
    named = {settings.cell, settings.new_stores_cell} - {""}
    if not cells and not named:
        return
    wrong = ""
    if not cells or named - set(cells):
        wrong = f"There is no cell {', '.join(sorted(named - set(cells)))}"
    elif settings.database is not None:
        wrong = "Both a database and cells are set"
    elif settings.spans_cells and not settings.directory_url:
        wrong = "There are cells, and no directory that says which store is where"
    if wrong:
        raise Invalid("CD7033", f"{wrong}.", where=f"{PREFIX}CELLS", remedy="See docs/guides/cells.md.")
    for name, url in cells.items():
        PostgresUrl.parse(url).refuse_read_only(f"{PREFIX}CELLS, {name}")
    if settings.directory_url:
        PostgresUrl.parse(settings.directory_url).refuse_read_only(f"{PREFIX}DIRECTORY")


def _refuse_database(settings: Settings) -> None:
    _refuse_cells(settings)
    url = settings.postgres_url
    if url is not None:
        PostgresUrl.parse(url).refuse_read_only(f"{PREFIX}DATABASE")
        return
    for name, one in (("ROLE", settings.role is ProcessRole.ALL), ("WORKERS", settings.workers == 1)):
        if not one:
            raise Invalid(
                "CD7007",
                "The database is a SQLite file, and one process owns the file.",
                where=f"{PREFIX}{name}",
                remedy=f"Serve with --role all and one worker, or set {PREFIX}DATABASE to a postgresql:// URL.",
            )


def _plain(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()


def _unreadable(where: str, why: str) -> Invalid:
    return Invalid("CD7004", f"A setting cannot be read: {why}.", where=where, remedy="Correct it, or unset it.")


@dataclass(frozen=True, slots=True)
class SettingRow:
    variable: str
    default: str
    meaning: str


def settings_table() -> tuple[SettingRow, ...]:
    """Every setting, for the reference page and the CLI."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "" if default in (None, "", {}, ()) else str(default)
        rows.append(
            SettingRow(
                PREFIX + name.upper(), shown.lower() if isinstance(default, bool) else shown, field.description or ""
            )
        )
    return tuple(rows)
