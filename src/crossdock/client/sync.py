"""The client for plain code: http.client from the standard library, one kept-alive connection per call in flight."""

from __future__ import annotations

import http.client
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from crossdock.client.events import Receipt, publishing, receipts_of
from crossdock.client.exchange import (
    ANSWER_BYTES_MAX,
    Broken,
    Call,
    Outcome,
    Reply,
    Send,
    address_of,
    checked_token,
    exchange,
    headers_of,
)
from crossdock.client.inbox import InboxEvent, Reject, marks_of, page_of
from crossdock.client.operations import Operations
from crossdock.client.problems import Unavailable, Unreachable
from crossdock.client.stamp import stamped

AGENT = "crossdock-client/1"
ANSWER_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
IDLE_CONNECTIONS_MAX = 16


def never() -> bool:
    return False


class Crossdock(Operations[Any]):
    """Speaks to one Crossdock as the holder of `token`. Safe to share between threads.

    `within_seconds` is how long a call may take with all its tries. `source` is the CloudEvents source of events that
    name none. Raises ValueError (CD7022) if the token would travel unencrypted to another machine and `plain_http`
    does not allow it.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        within_seconds: float = 30.0,
        source: str = "/core",
        plain_http: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address_of(url, plain_http=plain_http)
        self._token = checked_token(token)
        self._within = within_seconds
        self._source = source
        self._tls = tls
        self._idle: deque[http.client.HTTPConnection] = deque()

    def __repr__(self) -> str:
        return f"Crossdock({self._address.url!r})"

    def __enter__(self) -> Crossdock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that rest. Another call opens one again."""
        while (connection := self._resting()) is not None:
            connection.close()

    # publish and consume

    def publish(
        self,
        store: str,
        events: Mapping[str, Any] | Iterable[Mapping[str, Any]],
        *,
        within_seconds: float | None = None,
    ) -> list[Receipt]:
        """Publishes one event or many; when it returns they are kept. Each is a dict with at least `type` and `data`;
        give an `id` if your data has one that names the occurrence, else one is made before the first try.

        Many go in batches of at most 1,000; after an error those of earlier batches are kept, and publishing all of
        them again, with the ids, keeps each once. Raises InvalidEvent, Problem, Unreachable.
        """
        listed = [events] if isinstance(events, Mapping) else events
        receipts: list[Receipt] = []
        for call, ids in publishing(store, [self.complete(event) for event in listed]):
            receipts += receipts_of(self.call(call, within_seconds=within_seconds), ids)
        return receipts

    def complete(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event as it will be sent, with its id: keep this one to publish the same again later."""
        return stamped(event, self._source)

    def inbox(
        self,
        store: str,
        *,
        wait_seconds: int = 20,
        limit: int = 100,
        stop: Callable[[], bool] = never,
        outlast: bool = True,
    ) -> Iterator[InboxEvent]:
        """The store's inbound events as they come. Mark each with `ack()` or `reject(reason)`; the marks of a page go
        out before the next one is asked for, and when the iterator is closed. With `outlast` it waits through an
        outage of the server. `stop` is asked between pages."""
        while not stop():
            page: list[InboxEvent] = []
            try:
                page = page_of(self.pull(store, wait_seconds=wait_seconds, limit=limit))
                yield from page
            except (Unreachable, Unavailable):
                if not outlast:
                    raise
            finally:
                self._tell(store, page)

    def consume(
        self,
        store: str,
        handler: Callable[[InboxEvent], object],
        *,
        on_error: Callable[[InboxEvent, Exception], object] | None = None,
        wait_seconds: int = 20,
        limit: int = 100,
        stop: Callable[[], bool] = never,
    ) -> None:
        """Calls `handler` with each event and acknowledges it when the handler has returned. Reject parks the event.
        Any other exception leaves it unacknowledged, so that it comes again; it ends `consume`, unless `on_error`
        takes it."""
        with closing(self._pages(store, wait_seconds, limit, stop)) as events:
            for item in events:
                try:
                    handler(item)
                except Reject as refusal:
                    item.reject(refusal.reason)
                except Exception as error:  # the handler is the caller's: what it raises is told, or goes on up
                    if on_error is None:
                        raise
                    on_error(item, error)
                else:
                    item.ack()

    def _pages(self, store: str, wait_seconds: int, limit: int, stop: Callable[[], bool]) -> Any:
        return self.inbox(store, wait_seconds=wait_seconds, limit=limit, stop=stop)

    def _tell(self, store: str, page: list[InboxEvent]) -> None:
        """What cannot be told now comes again: an acknowledgement is never worth losing the loop for."""
        marks = marks_of(page)
        if marks:
            try:
                self.acknowledge(store, marks.acked, marks.rejected)
            except (Unreachable, Unavailable):
                return

    # the wire

    def call(self, call: Call, *, within_seconds: float | None = None) -> Any:
        steps = exchange(
            call,
            start=time.monotonic(),
            within_seconds=self._within if within_seconds is None else within_seconds,
            answer_seconds_max=ANSWER_SECONDS_MAX,
            dice=random.random,
        )
        step = next(steps)
        while True:
            result: Reply | Broken | None = None
            if isinstance(step, Send):
                result = self._send(step)
            else:
                time.sleep(step.seconds)
            try:
                step = steps.send(Outcome(time.monotonic(), result))
            except StopIteration as done:
                return done.value

    def _send(self, step: Send) -> Reply | Broken:
        try:
            connection = (None if step.fresh else self._resting()) or self._open(step.timeout_seconds)
        except (OSError, http.client.HTTPException) as error:
            return Broken(type(error).__name__, sent=False)
        try:
            reply = self._ask(connection, step)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Broken(type(error).__name__, sent=True)
        self._rest(connection)
        return reply

    def _ask(self, connection: http.client.HTTPConnection, step: Send) -> Reply:
        if connection.sock is not None:
            connection.sock.settimeout(step.timeout_seconds)
        headers = headers_of(step.call, self._token, AGENT)
        connection.request(step.call.method, self._address.prefix + step.call.path, step.call.body, headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX + 1)
        if len(body) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException("the answer is too large")
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def _resting(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _rest(self, connection: http.client.HTTPConnection) -> None:
        """Keeps the connection for the next call of any thread; http.client has dropped its socket if the answer
        ended it."""
        if connection.sock is None or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def _open(self, timeout_seconds: float) -> http.client.HTTPConnection:
        where = self._address
        timeout = min(CONNECT_SECONDS_MAX, timeout_seconds)
        connection: http.client.HTTPConnection
        if where.scheme == "https":
            context = self._tls or ssl.create_default_context()
            connection = http.client.HTTPSConnection(where.host, where.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(where.host, where.port, timeout=timeout)
        connection.connect()
        return connection
