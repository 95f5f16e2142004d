"""What the command line does on a data directory itself, while no server runs on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from crossdock.http.api.doctor import DoctorShown, shown
from crossdock.http.api.lanes import ledger_shown
from crossdock.http.api.tokens import TokenMade
from crossdock.http.api.tokens import shown as token_shown
from crossdock.model.errors import NotFound
from crossdock.settings import read_settings
from crossdock.stores.tokens import TokenWish
from crossdock.wiring import examine_offline, issue_token


def made_token(directory: Path, wish: TokenWish) -> dict[str, Any]:
    """A token written into the data directory, in the form of the API. The text is in the answer alone."""
    minted = asyncio.run(issue_token(read_settings(data_dir=directory), wish))
    return TokenMade(**token_shown(minted.token).model_dump(), token=minted.text).model_dump(mode="json")


def examined(directory: Path) -> dict[str, Any]:
    """The doctor's answer on a data directory, in the form of the API. NotFound (CD7030) where there is none."""
    settings = read_settings(data_dir=directory)
    if settings.engine_name == "sqlite" and not settings.database_path.exists():
        raise NotFound(
            "CD7030", "There is no data here.", where=str(directory), remedy="Name the directory with --dir."
        )
    found = asyncio.run(examine_offline(settings))
    answer = DoctorShown(
        well=found.well,
        findings=[shown(one) for one in found.findings],
        ledgers=[ledger_shown(one) for one in found.ledgers],
    )
    return answer.model_dump(mode="json")
