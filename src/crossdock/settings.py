"""The operator's settings: environment variables `CROSSDOCK_*`, read once at the start, each with its meaning.

What is unsafe together is refused at the start, with the reason; there is no default secret.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from crossdock.model.contract import Environment
from crossdock.model.errors import Invalid

PREFIX = "CROSSDOCK_"


class Settings(BaseSettings):
    """One line per setting; `settings_table` prints them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    environment: Environment = Field(
        Environment.LOCAL, description="local, staging or production. Only production calls live hosts."
    )
    data_dir: Path = Field(Path("var"), description="Where the database, the root key and the first token live.")
    database: Path | None = Field(None, description="The SQLite file; without it `crossdock.db` in data_dir.")
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
    def database_path(self) -> Path:
        return self.database or self.data_dir / "crossdock.db"

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
    (listens too widely), CD7004 (cannot be read)."""
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        # Not the error itself: it holds what was given, and that may be the root key.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise _unreadable(PREFIX + name.upper(), first["msg"]) from None
    except SettingsError:
        raise _unreadable(PREFIX + "*", "a value cannot be parsed") from None
    _refuse_unsafe(settings)
    return settings


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
    _ = settings.loopback_pairs  # refused now, not at the first delivery


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
