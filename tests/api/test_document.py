from __future__ import annotations

import json
import os
from pathlib import Path

from api.house import House

SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "openapi.json"


def test_the_api_is_the_one_that_was_agreed(house: House) -> None:
    text = json.dumps(house.ok("GET", "/openapi.json"), indent=1, sort_keys=True) + "\n"
    if os.environ.get("CROSSDOCK_ACCEPT_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8"), (
        "The API has changed. If that is meant: CROSSDOCK_ACCEPT_SNAPSHOTS=1 pytest tests/api, and commit the snapshot."
    )


def test_every_operation_has_a_sentence_and_every_list_is_bounded(house: House) -> None:
    document = house.ok("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"].strip(), (method, path)
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "limit":
                    assert parameter["schema"]["maximum"] <= 500, path
