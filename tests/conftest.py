"""Fixtures that several areas share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["postgres", "served"]

# How long an example takes says nothing about it: machines are noisy.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write the snapshots anew, after looking at the difference")
