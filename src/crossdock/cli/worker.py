"""One of several processes on a port, as `crossdock.workers` starts it: `python -m crossdock.cli.worker ORDERS`."""

from __future__ import annotations

import sys
from contextlib import suppress

import typer

from crossdock.cli.seat import Seat, answer
from crossdock.serve import serve
from crossdock.settings import read_settings
from crossdock.workers import Orders, told_to_serve


def main(text: str) -> int:
    """Serves until it is told to end; the exit status is the command line's."""
    seat = Seat(as_json='"log_format": "json"' in text)
    try:
        answer(seat, lambda: _serve(told_to_serve(text)))
    except typer.Exit as end:
        return end.exit_code
    return 0


def _serve(orders: Orders) -> None:
    place = orders.place()

    def say(_: str) -> None:
        with suppress(OSError):  # the supervisor is gone, and this process ends too
            place.line.send(b"s")

    serve(read_settings(**orders.given), say, place)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
