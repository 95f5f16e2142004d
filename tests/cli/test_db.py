"""`crossdock db` on both engines, as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from crossdock.engines.migrations import known
from crossdock.engines.sqlite import database
from postgres import Estate, House, password_of
from served import PROGRAM


@dataclass
class Desk:
    """The program with these variables; none of `secrets` is ever in what it says."""

    variables: dict[str, str]
    secrets: tuple[str, ...] = ()

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}
        environment = {**plain, "COLUMNS": "160", "NO_COLOR": "1", **self.variables}
        done = subprocess.run(
            [*PROGRAM, "db", *arguments], capture_output=True, text=True, env=environment, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        assert [one for one in self.secrets if one in said] == []
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def file_desk(tmp_path: Path) -> Desk:
    return Desk({"CROSSDOCK_DATA_DIR": str(tmp_path)})


def of_house(house: House, estate: Estate, **other: str) -> Desk:
    variables = {"CROSSDOCK_DATABASE": house.app, "CROSSDOCK_DATABASE_OWNER": house.owner, **other}
    return Desk(variables, (password_of(estate.app), password_of(estate.owner)))


@pytest.fixture
def desk(postgres_house: House, postgres_estate: Estate) -> Desk:
    return of_house(postgres_house, postgres_estate)


@pytest.fixture
def empty_desk(postgres: str, postgres_estate: Estate) -> Iterator[Desk]:
    """On a database that the owner has and nobody has migrated."""
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{admin.info.dbname}" OWNER TO "{postgres_estate.owner}"')
        yield of_house(postgres_estate.house(admin.info.dbname), postgres_estate)


def told(house: House, statement: str) -> None:
    with psycopg.connect(house.admin, autocommit=True) as admin:
        admin.execute(statement)


def test_a_file_from_nothing_to_checked(file_desk: Desk, tmp_path: Path) -> None:
    assert "CD7030" in file_desk.run("status", code=1).stderr
    assert "CD7030" in file_desk.run("check", code=1).stderr
    assert list(tmp_path.iterdir()) == []
    names = [str(one.step) for one in known(database.PACKAGE)]
    assert file_desk.json("migrate")["done"] == [f"applied {name}" for name in names]
    assert file_desk.json("migrate")["done"] == []
    state = file_desk.json("status")
    assert [row["migration"] for row in state["migrations"] if row["applied"]] == names
    assert (state["engine"], state["version"], state["fit"]) == ("sqlite", apsw.sqlite_lib_version(), True)
    tmp_path.chmod(0o700)
    assert all(one["ok"] for one in file_desk.json("check")["findings"])


def first_release(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(known(database.PACKAGE)[0].text)
    connection.execute(f"PRAGMA user_version = 1; PRAGMA application_id = {database.APPLICATION_ID}")
    connection.close()


def test_looking_at_a_file_of_the_release_before_changes_nothing(file_desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "crossdock.db"
    first_release(path)
    before = path.read_bytes()
    assert "lacks 0002_pre" in file_desk.run("status", code=1).stdout
    assert "lacks 0002_pre" in file_desk.run("check", code=1).stdout
    assert path.read_bytes() == before
    assert "applied 0002_pre" in file_desk.run("migrate").stderr
    assert file_desk.json("status")["fit"]


@pytest.mark.parametrize("verb", ["status", "check", "migrate"])
def test_what_is_no_database_is_named(file_desk: Desk, tmp_path: Path, verb: str) -> None:
    (tmp_path / "crossdock.db").write_bytes(b"a letter to a friend, long enough to be looked at " * 200)
    assert "CD5004" in file_desk.run(verb, code=3).stderr


def test_a_file_in_use_is_neither_migrated_nor_checked_but_shown(file_desk: Desk, tmp_path: Path) -> None:
    file_desk.run("migrate")
    lock = database.files.OwnerLock(tmp_path / "crossdock.db.lock")
    lock.take()
    try:
        assert "CD5005" in file_desk.run("migrate", code=3).stderr
        assert "CD5005" in file_desk.run("check", code=3).stderr
        assert file_desk.json("status")["fit"]
    finally:
        lock.give_up()


def test_a_server_from_nothing_to_checked(empty_desk: Desk) -> None:
    assert "lacks 0001_pre" in empty_desk.run("status", code=1).stdout
    assert "applied 0001_pre" in empty_desk.run("migrate").stderr
    assert [line for line in empty_desk.json("migrate")["done"] if line.startswith("applied")] == []
    state = empty_desk.json("status")
    assert (state["engine"], state["fit"], {row["applied"] for row in state["migrations"]}) == (
        "postgres",
        True,
        {True},
    )
    checked = empty_desk.json("check")
    assert checked["well"]
    assert {one["code"] for one in checked["findings"]} >= {"CD5020", "CD5021", "CD5022"}


SUM = "UPDATE crossdock.migrations SET checksum = 'another'"
LATER = "INSERT INTO crossdock.migrations (number, phase, checksum) VALUES (9001, '{}', '')"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (SUM, 1, "its file has changed since"),
        (LATER.format("pre"), 0, "of another release"),
        (LATER.format("post"), 1, "took away what this one needs"),
        ("DELETE FROM crossdock.migrations", 1, "lacks 0001_pre"),
    ],
)
def test_what_a_database_has_had_is_judged(
    desk: Desk, postgres_house: House, change: str, code: int, said: str
) -> None:
    told(postgres_house, change)
    assert said in desk.run("status", code=code).stdout
    checked = desk.run("check", code=code).stdout
    assert said in checked
    assert ("Something is wrong" in checked) == bool(code)


def test_an_owner_that_serves_is_refused(postgres_house: House, postgres_estate: Estate) -> None:
    desk = of_house(postgres_house, postgres_estate, CROSSDOCK_DATABASE=postgres_house.owner)
    assert "owns the tables" in desk.run("check", code=1).stdout
    assert "CD5034" in desk.run("migrate", code=1).stderr


def test_without_an_owner_a_schema_is_looked_at_and_not_changed(postgres_house: House, postgres_estate: Estate) -> None:
    desk = Desk({"CROSSDOCK_DATABASE": postgres_house.app}, (password_of(postgres_estate.app),))
    assert desk.json("status")["fit"]
    assert desk.json("check")["well"]
    assert "CD5033" in desk.run("migrate", code=1).stderr


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    url = "postgresql://app:word-of-mouth@127.0.0.1:1/crossdock"
    desk = Desk(
        {"CROSSDOCK_DATABASE": url, "CROSSDOCK_DATABASE_OWNER": url.replace("app", "owner")}, ("word-of-mouth",)
    )
    for verb in ("status", "check", "migrate"):
        assert "CD5002" in desk.run(verb, code=3).stderr


def test_a_check_looks_at_the_database_that_is_served(
    desk: Desk, postgres: str, postgres_house: House, postgres_estate: Estate
) -> None:
    with psycopg.connect(postgres, autocommit=True) as admin:
        elsewhere = postgres_estate.house(admin.info.dbname)
    other = of_house(postgres_house, postgres_estate, CROSSDOCK_DATABASE=elsewhere.app)
    assert "lacks 0001_pre" in other.run("check", code=1).stdout


def test_a_database_that_takes_no_writes_is_not_well(desk: Desk, postgres_house: House) -> None:
    with psycopg.connect(postgres_house.admin, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{admin.info.dbname}" SET default_transaction_read_only = on')
    checked = desk.json("check", code=1)
    assert not checked["well"]
    assert [one["code"] for one in checked["findings"] if not one["ok"]] == ["CD5042"]
