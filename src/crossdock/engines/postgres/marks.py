"""From which second on the poll has to look again: what a transaction wrote is seen only after it has ended.

A journal's `moved_at` is set inside the transaction of its append. Most end within milliseconds; but a commit that
waits for a synchronous standby ends when the standby is back, be it hours later, whether or not anybody still waits for
its answer. So a mark goes on to the second of an earlier look only when every transaction that had begun before that
look has ended: its number is lower than the look's own, and the server's snapshot says below which number all have
ended (`xmin`; PostgreSQL manual, 9.27.8).
"""

from __future__ import annotations

from dataclasses import dataclass

OVERLAP_SECONDS = 15
"""A second may be read before the lock is waited for, and a clock may be set back a little: a look goes back by more
than a statement can last (10 s)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the server says of itself when it is asked what moved. `server`: when it started, milliseconds. `second` of
    its clock, not later than the snapshot. `oldest`: each transaction with a lower number has ended. `own`: none with a
    higher number had begun."""

    server: int
    second: int
    oldest: int
    own: int


class Marks:
    """The marks of one follower of one server at a time."""

    def __init__(self) -> None:
        self._floor: Look | None = None
        self._later: Look | None = None
        self._sure = False

    def next(self, look: Look) -> tuple[int, bool]:
        """The mark to ask with next time, and whether the answer to the one before holds all that moved since.

        It does not where the server is another, or started anew: that one knows nothing of marks. Nor while a
        transaction is open that was so at the first look: what it wrote may be of any time before."""
        known = self._floor is not None and self._floor.server == look.server
        if not known or self._floor is None or self._later is None:
            self._floor, self._later, self._sure = look, look, look.oldest >= look.own
            return look.second - OVERLAP_SECONDS, False
        whole = self._sure
        if look.oldest >= self._later.own:
            self._floor, self._later, self._sure = self._later, look, True
        return self._floor.second - OVERLAP_SECONDS, whole
