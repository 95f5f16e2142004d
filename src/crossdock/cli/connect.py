"""`crossdock connect`: an integration's life in a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli.seat import Seat, command, read_object, subcommands
from crossdock.cli.secrets_in import read_secret
from crossdock.cli.show import Column, Shown, details, items_of, lines, moment, table

app = subcommands(
    "Connect an integration to a store, and run the connection.\n\n"
    "A connection starts as a draft that moves nothing: new, config, credential, validate, enable."
)

Store = Annotated[str, typer.Argument(help="The store's id.", metavar="STORE")]
Connection = Annotated[str, typer.Argument(help="The connection's id (con_...).", metavar="CONNECTION")]


@command(app, "new", epilog="Example: crossdock connect new sofia marketplace.acme --label 'Acme, main account'")
def new(
    seat: Seat,
    store: Store,
    integration: Annotated[str, typer.Argument(help="The contract's id; crossdock contracts list has them.")],
    version: Annotated[str | None, typer.Option("--version", help="A contract version; else the newest.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="A name of your own.")] = None,
) -> Shown:
    """Connect an integration: a draft, in which nothing moves yet."""
    with seat.client() as crossdock:
        made = crossdock.connect(store, integration, version=version, label=label)
    seat.note("Next: crossdock connect config, credential, validate, enable.")
    return details(made)


@command(app, "list")
def listed(seat: Seat, store: Store) -> Shown:
    """List the connections of a store."""
    with seat.client() as crossdock:
        answer = crossdock.connections(store)
    columns: dict[str, Column] = {
        "Connection": "id",
        "Integration": "integration",
        "State": "state",
        "Revision": "revision",
        "Label": "label",
        "Reason": "reason",
    }
    return table(answer, items_of(answer, "connections"), columns, empty="No connection yet: crossdock connect new.")


@command(app, "show")
def show(seat: Seat, store: Store, connection: Connection) -> Shown:
    """Show a connection, with the configuration in force and where senders post to."""
    with seat.client() as crossdock:
        found = crossdock.connection(store, connection)
    shown = {**found, "config": json.dumps(found["config"], ensure_ascii=False)} if "config" in found else found
    return Shown(found, details(shown).parts)


@command(app, "needs")
def needs(seat: Seat, store: Store, connection: Connection) -> Shown:
    """What must hold before the connection can be enabled, and whether it does."""
    with seat.client() as crossdock:
        answer = crossdock.needs(store, connection)
    columns: dict[str, Column] = {"Need": "name", "Met": "met", "Why": "why"}
    return table(answer, items_of(answer), columns, empty="It needs nothing.", failed=not answer.get("ready", True))


@command(app, "config", epilog="Example: crossdock connect config sofia con_... --set shop_name=Sofia --set units=3")
def config(
    seat: Seat,
    store: Store,
    connection: Connection,
    file: Annotated[
        Path | None,
        typer.Argument(help="A file with a JSON object, the whole configuration; - for standard input."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="One key=value to change; the rest stays. JSON, or else text.", metavar="KEY=VALUE"),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Move to this contract version.")] = None,
) -> Shown:
    """Give the connection a new configuration: a new revision, checked against the contract."""
    changed = dict(setting(change) for change in changes or ())
    if file is None and not changed and version is None:
        raise typer.BadParameter("Name a file, or change a key with --set.")
    with seat.client() as crossdock:
        if file is not None:
            whole = {**read_object(file), **changed}
            return details(crossdock.configure(store, connection, whole, contract_version=version))
        found = crossdock.connection(store, connection)
        whole = {**found["config"], **changed}
        # The change rests on what was read: refused when another one came between.
        return details(
            crossdock.configure(store, connection, whole, contract_version=version, if_version=found["version"])
        )


def setting(change: str) -> tuple[str, Any]:
    """The key and the value of `key=value`: JSON where it is JSON (3, true, "3"), else the text itself."""
    key, equals, text = change.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{change} is not KEY=VALUE.")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


@command(app, "credential", epilog="Example: crossdock connect credential sofia con_... api-key < key.txt")
def credential(
    seat: Seat,
    store: Store,
    connection: Connection,
    name: Annotated[str | None, typer.Argument(help="The slot's name; without it, list the slots.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="A file with the value; else standard input.")] = None,
) -> Shown:
    """Set a credential. It is read from a file, standard input or a prompt, sealed, and never shown again."""
    with seat.client() as crossdock:
        if name is None:
            answer = crossdock.credentials(store, connection)
            columns: dict[str, Column] = {
                "Name": "name",
                "Version": "version",
                "Optional": "optional",
                "Set": moment("at"),
                "Hosts": "hosts",
            }
            return table(answer, items_of(answer, "credentials"), columns, empty="No credential has been set.")
        return details(
            crossdock.set_credential(store, connection, name, read_secret(seat, file, name)) or {"set": name}
        )


@command(app, "forget", epilog="Example: crossdock connect forget sofia con_... api_key")
def forget(
    seat: Seat, store: Store, connection: Connection, name: Annotated[str, typer.Argument(help="The slot's name.")]
) -> Shown:
    """Forget a credential; refused while the connection is in use."""
    with seat.client() as crossdock:
        crossdock.drop_credential(store, connection, name)
    return lines({"forgotten": name}, f"{name} is forgotten.")


@command(app, "validate")
def validate(seat: Seat, store: Store, connection: Connection) -> Shown:
    """Check config, credentials and the contract's own test call."""
    with seat.client() as crossdock:
        return details(crossdock.validate(store, connection))


@command(app, "enable")
def enable(seat: Seat, store: Store, connection: Connection) -> Shown:
    """Let data move."""
    with seat.client() as crossdock:
        return details(crossdock.enable(store, connection))


@command(app, "pause")
def pause(
    seat: Seat,
    store: Store,
    connection: Connection,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever looks later.")] = None,
) -> Shown:
    """Stop sending for now: what comes is kept and waits."""
    with seat.client() as crossdock:
        return details(crossdock.pause(store, connection, reason))


@command(app, "resume")
def resume(seat: Seat, store: Store, connection: Connection) -> Shown:
    """Go on after a pause, with everything that waited."""
    with seat.client() as crossdock:
        return details(crossdock.resume(store, connection))


@command(app, "disable")
def disable(seat: Seat, store: Store, connection: Connection) -> Shown:
    """End it: nothing comes in, nothing goes out. The contract says what becomes of what is queued."""
    with seat.client() as crossdock:
        return details(crossdock.disable(store, connection))


@command(app, "rollback", epilog="Example: crossdock connect rollback sofia con_... 3")
def rollback(
    seat: Seat,
    store: Store,
    connection: Connection,
    revision: Annotated[int, typer.Argument(help="Its number.", min=1)],
) -> Shown:
    """Return to an earlier revision, as it was, in one step."""
    with seat.client() as crossdock:
        return details(crossdock.rollback(store, connection, revision))


@command(app, "revisions")
def revisions(seat: Seat, store: Store, connection: Connection) -> Shown:
    """List the revisions of a connection's configuration."""
    with seat.client() as crossdock:
        answer = crossdock.revisions(store, connection)
    columns: dict[str, Column] = {
        "Revision": "number",
        "Contract": "contract_version",
        "In force": "in_force",
        "Author": "author",
        "At": moment("at"),
        "Config": "config",
    }
    return table(answer, items_of(answer, "revisions"), columns, empty="It has no configuration yet.")
