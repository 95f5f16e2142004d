"""Every operation of the API, once, for the sync and the async client alike.

`Made` is what a call gives: parsed JSON in the sync client, an awaitable of it in the async one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from crossdock.client.exchange import Call, path, query

Made = TypeVar("Made")


def asking(*parts: str, **values: str | int | bool | None) -> Call:
    return Call("GET", path("v1", *parts) + query(**values))


def putting(*parts: str, body: Any) -> Call:
    return Call("PUT", path("v1", *parts), json.dumps(body).encode())


def posting(*parts: str, body: Any = None, repeatable: bool = False) -> Call:
    """`repeatable` only where the state table makes a second time harmless, or nothing is changed."""
    return Call("POST", path("v1", *parts), json.dumps({} if body is None else body).encode(), repeatable=repeatable)


def given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class Operations(ABC, Generic[Made]):
    """Names follow the paths of the API. Answers are the JSON objects that its document describes."""

    @abstractmethod
    def call(self, call: Call, *, within_seconds: float | None = None) -> Made:
        """Does the call, trying again as `exchange` says. Raises Problem or Unreachable."""

    # stores

    def create_store(self, store: str, name: str = "") -> Made:
        return self.call(posting("stores", body={"id": store, "name": name or store}))

    def stores(self, *, after: str | None = None, limit: int | None = None) -> Made:
        return self.call(asking("stores", after=after, limit=limit))

    def store(self, store: str) -> Made:
        return self.call(asking("stores", store))

    def set_gate(self, store: str, state: str) -> Made:
        """`state` is open, closing or shut: how a store is stopped while it moves to another database."""
        return self.call(putting("stores", store, "gate", body={"state": state}))

    def set_weight(self, store: str, weight: int) -> Made:
        """The store's share of senders when they are scarce: 1 is a plain one."""
        return self.call(putting("stores", store, "weight", body={"weight": weight}))

    def core(self, store: str) -> Made:
        return self.call(asking("stores", store, "core"))

    def set_core(self, store: str, mode: str, *, url: str | None = None, secret: str | None = None) -> Made:
        """`mode` is pull or push; a push goes to `url`, signed with `secret` (Standard Webhooks)."""
        return self.call(putting("stores", store, "core", body=given(mode=mode, url=url, secret=secret)))

    # integrations

    def integrations(self) -> Made:
        return self.call(asking("integrations"))

    def integration(self, integration: str, version: str | None = None) -> Made:
        return self.call(asking("integrations", integration, version=version))

    # connections

    def connect(self, store: str, integration: str, *, version: str | None = None, label: str | None = None) -> Made:
        """A new connection, a draft: nothing moves until it is enabled."""
        body = given(integration=integration, version=version, label=label)
        return self.call(posting("stores", store, "connections", body=body))

    def connections(self, store: str) -> Made:
        return self.call(asking("stores", store, "connections"))

    def connection(self, store: str, connection: str) -> Made:
        return self.call(asking("stores", store, "connections", connection))

    def needs(self, store: str, connection: str) -> Made:
        """What must hold before it can be enabled, and whether it does."""
        return self.call(asking("stores", store, "connections", connection, "needs"))

    def configure(
        self,
        store: str,
        connection: str,
        config: Mapping[str, Any],
        *,
        contract_version: str | None = None,
        if_version: int | None = None,
    ) -> Made:
        """A new revision. With `if_version`, Conflict unless the connection is at that version still."""
        body = given(config=dict(config), contract_version=contract_version)
        where = path("v1", "stores", store, "connections", connection, "config") + query(if_version=if_version)
        return self.call(Call("PUT", where, json.dumps(body).encode()))

    def credentials(self, store: str, connection: str) -> Made:
        """Names, versions and times: a value never comes back."""
        return self.call(asking("stores", store, "connections", connection, "credentials"))

    def set_credential(self, store: str, connection: str, name: str, value: str) -> Made:
        return self.call(
            putting("stores", store, "connections", connection, "credentials", name, body={"value": value})
        )

    def drop_credential(self, store: str, connection: str, name: str) -> Made:
        return self.call(Call("DELETE", path("v1", "stores", store, "connections", connection, "credentials", name)))

    def validate(self, store: str, connection: str) -> Made:
        return self._move(store, connection, "validate")

    def enable(self, store: str, connection: str) -> Made:
        return self._move(store, connection, "enable")

    def pause(self, store: str, connection: str, reason: str | None = None) -> Made:
        return self.call(posting("stores", store, "connections", connection, "pause", body=given(reason=reason)))

    def resume(self, store: str, connection: str) -> Made:
        return self._move(store, connection, "resume")

    def disable(self, store: str, connection: str) -> Made:
        return self._move(store, connection, "disable")

    def rollback(self, store: str, connection: str, revision: int) -> Made:
        body = {"revision": revision}
        return self.call(posting("stores", store, "connections", connection, "rollback", body=body))

    def revisions(self, store: str, connection: str) -> Made:
        return self.call(asking("stores", store, "connections", connection, "revisions"))

    def _move(self, store: str, connection: str, signal: str) -> Made:
        return self.call(posting("stores", store, "connections", connection, signal))

    # lanes

    def lanes(self, store: str) -> Made:
        """The ledger of every lane of the store."""
        return self.call(asking("stores", store, "lanes"))

    def held(
        self,
        store: str,
        connection: str,
        route: str,
        *,
        state: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Made:
        """What is retrying, waiting or parked."""
        parts = ("stores", store, "connections", connection, "routes", route, "held")
        return self.call(asking(*parts, state=state, after=after, limit=limit))

    def attempts(
        self, store: str, connection: str, route: str, *, position: int | None = None, limit: int | None = None
    ) -> Made:
        """What the far end said, the newest first."""
        parts = ("stores", store, "connections", connection, "routes", route, "attempts")
        return self.call(asking(*parts, position=position, limit=limit))

    def replay(self, store: str, connection: str, route: str, *, dry_run: bool = True, **selection: Any) -> Made:
        """Sends again what `selection` picks; with `dry_run` only says what it would."""
        body = given(dry_run=dry_run, **selection)
        parts = ("stores", store, "connections", connection, "routes", route, "replay")
        return self.call(posting(*parts, body=body, repeatable=dry_run))

    # events and the inbox

    def event(self, store: str, event_id: str) -> Made:
        """Where an event stands, lane by lane."""
        return self.call(asking("stores", store, "events", event_id))

    def event_data(self, store: str, event_id: str) -> Made:
        """What an event says; the view goes on the audit record."""
        return self.call(asking("stores", store, "events", event_id, "data"))

    def pull(self, store: str, *, wait_seconds: int = 0, limit: int | None = None) -> Made:
        """One page of the store's inbox; waits up to `wait_seconds` for the first event."""
        found = asking("stores", store, "inbox", wait_seconds=wait_seconds, limit=limit)
        return self.call(Call(found.method, found.path, patience_seconds=float(wait_seconds)))

    def acknowledge(self, store: str, acked: Iterable[str], rejected: Iterable[Mapping[str, str]] = ()) -> Made:
        """`acked` are handles of a page; `rejected` are {handle, reason}. A second time changes nothing."""
        body = {"acked": list(acked), "rejected": [dict(item) for item in rejected]}
        return self.call(posting("stores", store, "inbox", "ack", body=body, repeatable=True))

    # the installation

    def create_token(
        self, role: str, *, store: str | None = None, label: str | None = None, days: int | None = None
    ) -> Made:
        """The token is in the answer, this once."""
        return self.call(posting("tokens", body=given(role=role, store=store, label=label, days=days)))

    def tokens(self) -> Made:
        return self.call(asking("tokens"))

    def revoke_token(self, token: str) -> Made:
        return self.call(Call("DELETE", path("v1", "tokens", token)))

    def audit(self, store: str | None = None, *, after: int | None = None, limit: int | None = None) -> Made:
        parts = ("stores", store, "audit") if store else ("audit",)
        return self.call(asking(*parts, after=after, limit=limit))

    def doctor(self) -> Made:
        return self.call(asking("doctor"))
