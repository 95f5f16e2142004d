"""A secret is shown by reveal() and by nothing else."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import traceback

import pytest
from places import opened, vault

from crossdock.credentials.secret import Secret
from crossdock.credentials.vault import StoreKeys

VALUE = b"hunter2-the-very-secret-value"
TEXT = VALUE.decode()


@pytest.fixture
def secret() -> Secret:
    return Secret(VALUE)


def test_no_text_of_it_holds_it(secret: Secret) -> None:
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>40}",
        "{}".format(secret),  # noqa: UP032
        "%s %r" % (secret, secret),  # noqa: UP031
        repr([secret, {"key": secret}]),
        pprint.pformat({"key": secret}),
        repr(dir(secret)),
        format(secret, "x"),
    ]
    assert not [text for text in shown if TEXT in text or VALUE.hex() in text]
    assert repr(secret) == "Secret(…)"


def test_it_has_no_form_to_be_copied_in(secret: Secret) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)
    for copied in (copy.copy, copy.deepcopy, json.dumps, bytes, hash):
        with pytest.raises(TypeError):
            copied(secret)  # type: ignore[operator]
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        json.dumps({"key": secret})
    assert TEXT not in json.dumps({"key": secret}, default=str)


def test_a_log_line_and_a_traceback_with_locals_do_not_show_it(secret: Secret) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("secret-test")
    logger.addHandler(handler)
    try:
        logger.error("it is %s", secret)
    finally:
        logger.removeHandler(handler)

    def fail(held: Secret) -> None:
        raise RuntimeError(f"with {held}")

    try:
        fail(secret)
    except RuntimeError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        stream.write("".join(report.format()))
    assert "Secret(…)" in stream.getvalue()
    assert TEXT not in stream.getvalue()


def test_secrets_are_equal_by_value(secret: Secret) -> None:
    assert secret == Secret(VALUE)
    assert secret != Secret(VALUE + b"x")
    assert secret != VALUE
    assert secret != TEXT


def test_keys_show_no_key() -> None:
    held = vault()
    keys: StoreKeys = opened("north", held)
    person = keys.new_subject_key(keys.subject_ref("ada"))
    assert repr(keys) == "StoreKeys(north)"
    assert repr(person) == "SubjectKey(…)"
    assert repr(person.sealer) == "Sealer(personal part)"
    assert len(held.root_id) == 16
