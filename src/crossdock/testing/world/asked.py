"""What a process has asked of an engine of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.model.entry import Draft
from crossdock.model.lane import LaneChange
from crossdock.stores.port import Change


@dataclass(slots=True, eq=False)
class Asked:
    """A write that a process has asked its engine for, and has no answer to yet: drafts, changes of lanes, or one of
    the control plane."""

    process: Any
    drafts: Sequence[Draft] = ()
    settles: Sequence[LaneChange] = ()
    change: Change | None = None
