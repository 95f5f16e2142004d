"""The settings of cells: read whole, shown never, and refused where they do not fit together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cells_world import Town

from crossdock.cli.main import main
from crossdock.model.errors import Invalid
from crossdock.model.ids import Instant, StoreId
from crossdock.observe.lines import Lines
from crossdock.settings import Settings, cells_of, read_settings, settings_table
from crossdock.stores.port import AddStore, Change
from crossdock.testing.samples import a_store, audit
from crossdock.wiring.ground import engine_of

A, B = "postgresql://app:canary@one.example/x?sslmode=verify-full", "postgresql://app:canary@two.example/x"
MANY = "postgresql://app:canary@one.example,two.example/x?target_session_attrs=read-write"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row.variable, raising=False)


def test_a_list_of_cells_is_read_in_its_order_also_with_several_hosts() -> None:
    assert cells_of(f"b={B}, a={A},c={MANY}") == {"b": B, "a": A, "c": MANY}
    assert list(cells_of(f"b={B}, a={A}")) == ["b", "a"]
    assert cells_of("  ") == {}


@pytest.mark.parametrize("bad", ["a", f"a={A}, a={B}", f"a={A}, {B}", "a=mysql://x/y", f"A={A}", "a=postgresql://"])
def test_what_is_no_list_of_cells_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_settings(cells=bad, directory=A)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"cells": f"a={A}"},
        {"cells": f"a={A}", "directory": B, "cell": "b"},
        {"cells": f"a={A}", "directory": B, "new_stores_cell": "b"},
        {"cells": f"a={A}", "directory": B, "database": A},
        {"cell": "a"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="CD7033") as refused:
        read_settings(**given)
    assert "canary" not in str(refused.value)


def test_a_cell_of_several_hosts_must_say_that_it_wants_the_one_that_writes() -> None:
    with pytest.raises(Invalid, match="CD7008"):
        read_settings(cells="a=postgresql://app@one.example,two.example/x", directory=A)


def named(settings: Settings) -> str:
    return engine_of(settings, lambda: Instant(0), Lines(lambda name, fields: None)).name


def test_a_process_spans_the_cells_or_works_for_one() -> None:
    whole = read_settings(cells=f"a={A}, b={B}", directory=A)
    assert (whole.spans_cells, named(whole)) == (
        True,
        "cells",
    )
    one = read_settings(cells=f"a={A}, b={B}", directory=A, cell="b")
    assert (
        one.spans_cells,
        one.postgres_url,
        named(one),
    ) == (False, B, "postgres")


async def test_a_store_that_was_there_before_the_directory_is_noted_once(
    town: Town, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("north", "south"):
        store = StoreId(name)
        async with town.engine("a") as engine:
            await engine.registry.commit(Change((AddStore(a_store(store)),), (audit("made", store),)))
    town.tell("DELETE FROM crossdock_directory.cells_directory")
    monkeypatch.setenv("CROSSDOCK_CELLS", ", ".join(f"{name}={house.app}" for name, house in town.cells.items()))
    monkeypatch.setenv("CROSSDOCK_DIRECTORY", town.directory.app)
    monkeypatch.setenv("CROSSDOCK_DATABASE_OWNER", town.directory.owner)
    monkeypatch.setattr("sys.argv", ["crossdock", "db", "directory"])
    for noted in (2, 0):
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main)
        assert not ended.value.code
        assert f"cell a: {noted} of 2 stores noted" in capsys.readouterr().err
    async with town.engine() as engine:
        assert [one.id for one in await engine.registry.stores()] == ["north", "south"]
