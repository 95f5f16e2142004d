from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.model.errors import Bug, Invalid
from crossdock.settings import read_settings, settings_table
from crossdock.wiring import root_key_of


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row.variable, raising=False)


def test_the_defaults_are_one_port_on_loopback() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.environment) == ("127.0.0.1", 8400, "local")


def test_lists_and_pairs_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_HOST_MAP", "api.sandbox.example=127.0.0.1:9001, b.example=[::1]:9")
    monkeypatch.setenv("CROSSDOCK_LOOPBACK_ALLOW", "127.0.0.1:9002,127.0.0.1:9003")
    monkeypatch.setenv("CROSSDOCK_OPERATOR_HOSTS", "smtp_relay=relay.example:2525")
    settings = read_settings()
    assert settings.mapped == {"api.sandbox.example": ("127.0.0.1", 9001), "b.example": ("::1", 9)}
    assert ("127.0.0.1", 9003) in settings.loopback_pairs
    assert settings.operator_hosts == {"smtp_relay": "relay.example:2525"}


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("given", [{"host_map": "a.example=127.0.0.1:1"}, {"loopback_allow": "127.0.0.1:1"}])
def test_loopback_allowances_are_for_local_alone(environment: str, given: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="CD7001"):
        read_settings(environment=environment, **given)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_listening_beyond_loopback_must_be_asked_for(host: str) -> None:
    with pytest.raises(Invalid, match="CD7003"):
        read_settings(host=host)
    assert read_settings(host=host, listen_beyond_loopback=True).host == host


@pytest.mark.parametrize("bad", ["10.0.0.1:80", "localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "x"])
def test_a_loopback_target_is_a_literal_address_and_port(bad: str) -> None:
    for given in ({"loopback_allow": bad}, {"host_map": f"a.example={bad}"}):
        with pytest.raises(Invalid, match="CD7004"):
            read_settings(**given)


def test_a_setting_that_cannot_be_read_is_named_without_its_value() -> None:
    with pytest.raises(Invalid, match="CROSSDOCK_PORT") as refused:
        read_settings(port="canary")
    assert "canary" not in str(refused.value)
    with pytest.raises(Invalid, match="CD7004"):
        read_settings(surplus="canary")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_there_is_no_default_root_key(environment: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="CD7002"):
        root_key_of(read_settings(environment=environment, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_in_local_a_random_root_key_is_made_once(tmp_path: Path) -> None:
    settings = read_settings(data_dir=tmp_path)
    first = root_key_of(settings)
    assert root_key_of(settings).id == first.id
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600


def test_a_root_key_file_that_is_named_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="CD7002"):
        root_key_of(read_settings(data_dir=tmp_path, root_key_file=tmp_path / "named.key"))


def test_two_root_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="CD7001"):
        read_settings(root_key="x", root_key_file=tmp_path / "root.key")


def test_the_root_key_is_in_no_repr() -> None:
    assert "canary" not in repr(read_settings(root_key="canary"))


def test_every_setting_says_what_it_means() -> None:
    assert all(row.meaning.endswith((".", "TLS in front.")) for row in settings_table())


@pytest.mark.parametrize("bad", ["0.0.0.0/0", "::/0", "everybody", "10.0.0.1/8"])
def test_trusted_proxies_are_networks_and_never_everybody(bad: str) -> None:
    with pytest.raises(Invalid, match="CD7004"):
        read_settings(trusted_proxies=bad)
    assert read_settings(trusted_proxies="10.0.0.0/8, 127.0.0.1").trusted_proxies == ("10.0.0.0/8", "127.0.0.1")


PASSWORD = "canary-7f3a"
URL = f"postgresql://app:{PASSWORD}@db.example:5432/crossdock"


def test_the_database_is_a_file_or_a_server() -> None:
    file = read_settings(database="var/other.db")
    assert (file.engine_name, file.postgres_url, str(file.database_path)) == ("sqlite", None, "var/other.db")
    assert str(read_settings(database="sqlite:var/other.db").database_path) == "var/other.db"
    for url in (URL, URL.replace("postgresql", "postgres")):
        server = read_settings(database=url)
        assert (server.engine_name, server.postgres_url) == ("postgres", url)
        with pytest.raises(Bug, match="CD5035"):
            _ = server.database_path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@one.example:5432,two.example:5433/crossdock?target_session_attrs=read-write",
        "postgresql://app@one.example,[2001:db8::1]:5432/crossdock?target_session_attrs=primary",
        "postgresql://app@/crossdock?host=/run/postgresql&port=5433",
        "postgresql://app:p%40ss%2Fword@127.0.0.1/crossdock?sslmode=verify-full",
    ],
)
def test_the_urls_that_postgresql_knows_are_taken(url: str) -> None:
    assert read_settings(database=url).postgres_url == url


def test_of_a_database_only_hosts_and_name_are_shown() -> None:
    settings = read_settings(
        database=f"{URL}?password={PASSWORD}&application_name={PASSWORD}", database_owner=URL.replace("app", "owner")
    )
    assert settings.database_shown == "postgresql://db.example:5432/crossdock"
    for text in (repr(settings), str(settings), settings.model_dump_json(), settings.database_shown):
        assert PASSWORD not in text
        assert "app:" not in text


@pytest.mark.parametrize("setting", ["database", "database_owner"])
@pytest.mark.parametrize(
    "bad",
    [
        f"mysql://app:{PASSWORD}@db.example/x",
        f"postgresql://app:{PASSWORD}/more@db.example/x",
        f"postgresql://app:1/{PASSWORD}@db.example/x",
        f"postgresql://app:{PASSWORD}#more@db.example/x",
        f"postgresql://app:{PASSWORD}@more@db.example/x",
        f"postgresql://app:{PASSWORD}?more@db.example/x",
        f"postgresql://app:{PASSWORD}@db.example:port/x",
        f"postgresql://app:{PASSWORD}@[db/x",
        f"postgresql://app:{PASSWORD}@db.example/x?{PASSWORD}",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_a_word_of_it(setting: str, bad: str) -> None:
    with pytest.raises(Invalid, match="CD7004") as refused:
        read_settings(**{setting: bad})
    assert PASSWORD not in f"{refused.value}{refused.value.facts}{refused.value.__cause__}{refused.value.__context__}"


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql://app@one.example,two.example/x",
        "postgresql://app@/x?host=one.example,two.example",
        "postgresql://app@one.example/x?target_session_attrs=standby",
        "postgresql://app@one.example/x?target_session_attrs=any",
        "postgresql://app@one.example/x?target_session_attrs=prefer-standby",
    ],
)
def test_a_server_that_may_take_no_writes_is_refused(bad: str) -> None:
    with pytest.raises(Invalid, match="CD7008"):
        read_settings(database=bad)


@pytest.mark.parametrize("given", [{"role": "ingest"}, {"role": "deliver"}, {"role": "api"}, {"workers": 2}])
def test_one_process_owns_a_sqlite_file(given: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="CD7007"):
        read_settings(**given)
    assert read_settings(database=URL, **given).engine_name == "postgres"


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": 65}, {"role": "other"}, {"database_connections": 2}])
def test_how_many_and_what_have_bounds(given: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="CD7004"):
        read_settings(database=URL, **given)


def test_the_owner_of_a_schema_is_on_a_server() -> None:
    with pytest.raises(Invalid, match="CD7004"):
        read_settings(database_owner="var/file.db")
    assert read_settings(database_owner=URL).postgres_owner_url == URL
