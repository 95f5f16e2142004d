"""The root key: where it may come from, what is refused as one, and that it is never overwritten."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import random
from pathlib import Path

import pytest

from crossdock.credentials.root import RootKey, write_new
from crossdock.model.errors import Conflict, Invalid

GOOD = random.Random(11).randbytes(32)


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_new_key_is_in_a_file_that_only_its_owner_reads_and_opens_again(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = write_new(tmp_path / "root.key", random.Random(1).randbytes)
    finally:
        os.umask(before)
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600
    assert RootKey.from_file(tmp_path / "root.key").id == made.id


def test_a_key_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    write_new(path, random.Random(1).randbytes)
    content = path.read_bytes()
    with pytest.raises(Conflict) as caught:
        write_new(path, random.Random(2).randbytes)
    assert caught.value.code == "CD6006"
    assert path.read_bytes() == content


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "root.key"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        write_new(link, random.Random(1).randbytes)
    assert not (tmp_path / "elsewhere").exists()


def test_randomness_that_is_none_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        write_new(tmp_path / "root.key", bytes)
    assert caught.value.code == "CD6005"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o620, 0o777, 0o601])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "root.key", base64.b64encode(GOOD), mode)
    with pytest.raises(Invalid) as caught:
        RootKey.from_file(path)
    assert caught.value.code == "CD6004"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_is_taken(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "root.key", base64.b64encode(GOOD) + b"\n", mode)
    assert RootKey.from_file(path).id == RootKey(GOOD).id


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(Invalid) as caught:
            RootKey.from_file(path)
        assert caught.value.code == "CD6003"


WEAK = {
    "zeros": bytes(32),
    "one byte": b"\xa7" * 32,
    "counting": bytes(range(32)),
    "counting down": bytes(range(255, 223, -1)),
    "steps of seven": bytes((7 * index) % 256 for index in range(32)),
    "a word repeated": (b"\x90\x01secret" * 4)[:32],
    "text": b"this-is-my-very-secret-root-key!",
    "hex digits": hashlib.sha256(b"x").hexdigest()[:32].encode(),
    "hash of a word": hashlib.sha256(b"changeme").digest(),
    "hash of nothing": hashlib.sha256(b"").digest(),
    "too short": GOOD[:31],
    "too long": GOOD + b"x",
    "empty": b"",
}


@pytest.mark.parametrize("key", WEAK.values(), ids=list(WEAK))
def test_a_key_that_nobody_drew_is_refused(key: bytes, tmp_path: Path) -> None:
    for give in (
        lambda: RootKey(key),
        lambda: RootKey.from_text(base64.b64encode(key).decode()),
        lambda: RootKey.from_file(written(tmp_path / "root.key", base64.b64encode(key))),
    ):
        with pytest.raises(Invalid) as caught:
            give()
        assert caught.value.code == "CD6005"
        assert len(key) < 8 or base64.b64encode(key).decode() not in str(caught.value)


@pytest.mark.parametrize("text", ["", "not base64!", "é" * 44, base64.b64encode(GOOD).decode() + "*", GOOD.hex()])
def test_what_is_not_base64_of_a_key_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        RootKey.from_text(text)
    assert caught.value.code == "CD6005"
    with pytest.raises(Invalid):
        RootKey.from_file(written(tmp_path / "root.key", text.encode()))


def test_a_file_longer_than_any_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        RootKey.from_file(written(tmp_path / "root.key", base64.b64encode(GOOD) + b" " * 300))


def test_both_alphabets_of_base64_are_read() -> None:
    key = bytes([251, 255, 191]) + GOOD[3:]
    assert RootKey.from_text(base64.urlsafe_b64encode(key).decode()).id == RootKey(key).id


def test_random_keys_are_not_refused() -> None:
    dice = random.Random(12)
    for _ in range(5_000):
        RootKey(dice.randbytes(32))


def test_a_root_key_shows_its_id_and_nothing_else() -> None:
    root = RootKey(GOOD)
    assert repr(root) == f"RootKey({root.id})"
    assert GOOD.hex() not in repr(root)
    with pytest.raises(TypeError):
        pickle.dumps(root)
    with pytest.raises(AttributeError):
        vars(root)["key"] if hasattr(root, "__dict__") else root.key  # type: ignore[attr-defined]
