"""`crossdock contracts`: the catalogue, and the checks that a contract must pass. No server is needed."""

from __future__ import annotations

from crossdock.cli.seat import subcommands

app = subcommands("List, show and check the contracts of integrations.")
