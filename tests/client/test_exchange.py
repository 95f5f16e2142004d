"""The rules of trying again, without a socket: the driver of these tests is a list of results and a made-up clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.client import Conflict, NotFound, Problem, TooFast, Unavailable, Unreachable
from crossdock.client.exchange import (
    Broken,
    Call,
    Outcome,
    Reply,
    Send,
    Wait,
    address_of,
    checked_token,
    exchange,
    path,
    query,
)

GET = Call("GET", "/v1/stores")
CREATE = Call("POST", "/v1/stores", b"{}", repeatable=False)
OK = Reply(200, {"content-type": "application/json"}, b'{"ok":true}')


def reply(status: int, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def drive(call: Call, *results: Reply | Broken, within: float = 30.0, dice: float = 0.5) -> tuple[Any, list[Any]]:
    """(the answer or the error, the steps taken); each try takes no time, each wait takes its own."""
    now = 0.0
    waiting = list(results)
    steps: list[Any] = []
    run = exchange(call, start=now, within_seconds=within, answer_seconds_max=30.0, dice=lambda: dice)
    step = next(run)
    while True:
        steps.append(step)
        if isinstance(step, Wait):
            now += step.seconds
        outcome = Outcome(now, waiting.pop(0) if isinstance(step, Send) else None)
        try:
            step = run.send(outcome)
        except StopIteration as done:
            return done.value, steps
        except (Problem, Unreachable) as error:
            return error, steps


def tries(steps: list[Any]) -> int:
    return sum(isinstance(step, Send) for step in steps)


def test_a_good_answer_ends_it_at_once() -> None:
    assert drive(GET, OK) == ({"ok": True}, [Send(GET, 30.0, fresh=False)])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_tried_again(status: int) -> None:
    answer, steps = drive(GET, reply(status), OK)
    assert answer == {"ok": True}
    assert tries(steps) == 2


def test_the_servers_wish_is_obeyed_to_the_second() -> None:
    _, steps = drive(GET, reply(503, retry_after="7"), OK, dice=0.0)
    assert [step.seconds for step in steps if isinstance(step, Wait)] == [7.0]


def test_a_wish_beyond_the_deadline_ends_it_instead_of_hammering() -> None:
    error, steps = drive(GET, reply(429, retry_after="60"), within=30.0)
    assert isinstance(error, TooFast)
    assert error.retry_after_seconds == 60
    assert tries(steps) == 1


def test_a_broken_try_of_a_repeatable_call_is_made_again_on_a_new_connection() -> None:
    answer, steps = drive(GET, Broken("Reset", sent=True), OK)
    assert answer == {"ok": True}
    assert [step.fresh for step in steps if isinstance(step, Send)] == [False, True]


def test_a_call_that_must_not_happen_twice_is_not_repeated_once_it_was_sent() -> None:
    error, steps = drive(CREATE, Broken("Reset", sent=True))
    assert isinstance(error, Unreachable)
    assert tries(steps) == 1
    assert steps[0].fresh


@pytest.mark.parametrize("first", [Broken("Refused", sent=False), reply(503), reply(429)])
def test_it_is_repeated_when_it_is_certain_that_nothing_was_done(first: Reply | Broken) -> None:
    assert drive(CREATE, first, OK)[0] == {"ok": True}


def test_a_gateways_answer_does_not_say_that_nothing_was_done() -> None:
    assert isinstance(drive(CREATE, reply(502))[0], Unavailable)


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (400, Problem), (500, Unavailable)])
def test_a_refusal_is_final_and_typed(status: int, kind: type[Problem]) -> None:
    error, steps = drive(GET, reply(status))
    assert type(error) is kind or isinstance(error, kind)
    assert tries(steps) == 1


def test_a_problem_tells_its_code_and_where() -> None:
    body = b'{"code":"CD1022","title":"No.","detail":"Not so.","remedy":"Do.",'
    body += b'"problems":[{"pointer":"/a"},{"pointer":"/b"}]}'
    error, _ = drive(GET, Reply(422, {}, body))
    assert (error.status, error.code, error.title, error.detail) == (422, "CD1022", "No.", "Not so.")
    assert error.pointers == ("/a", "/b")
    assert error.remedy == "Do."
    assert str(error) == "CD1022 Not so. (/a, /b) Do."


def test_an_answer_of_something_in_between_is_a_problem_without_a_code() -> None:
    error, _ = drive(GET, Reply(404, {}, b"<html>nginx</html>"))
    assert isinstance(error, NotFound)
    assert error.code == ""


@given(st.floats(0.01, 100), st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_it_always_ends_within_the_deadline(within: float, dice: float, refusals: int) -> None:
    _, steps = drive(GET, *[Broken("Refused", sent=False)] * 10_000, within=within, dice=max(dice, 0.01))
    assert sum(step.seconds for step in steps if isinstance(step, Wait)) < within
    assert all(step.timeout_seconds <= within for step in steps if isinstance(step, Send))


def test_a_path_keeps_a_name_in_one_segment() -> None:
    assert path("v1", "stores", "a/b?c", "é") == "/v1/stores/a%2Fb%3Fc/%C3%A9"


def test_a_query_leaves_out_what_is_not_given() -> None:
    assert query(a=None, b=1, c=True, d="x y") == "?b=1&c=true&d=x+y"
    assert query(a=None) == ""


@pytest.mark.parametrize("url", ["ftp://x", "crossdock", "http://", "https://user:pw@x", "http://example.com"])
def test_a_token_does_not_go_to_such_an_address(url: str) -> None:
    with pytest.raises(ValueError, match="CD7022"):
        address_of(url, plain_http=False)


def test_plain_http_beyond_this_machine_must_be_asked_for() -> None:
    assert address_of("http://crossdock:8710/x/", plain_http=True).prefix == "/x"
    assert address_of("http://127.0.0.1", plain_http=False).port == 80
    assert address_of("https://crossdock.example", plain_http=False).port == 443


def test_a_token_that_would_break_the_header_is_refused_without_saying_it() -> None:
    with pytest.raises(ValueError, match="CD7022") as caught:
        checked_token("cdt_x\r\nx-evil: 1")
    assert "evil" not in str(caught.value)
