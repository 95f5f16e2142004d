"""Requests as third parties send them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from bench import load
from bench.stage import SECRET


def signed_order(port: int, connection: str, document: dict[str, Any]) -> bytes:
    """An order as a till sends it, signed as orders.generic asks."""
    body = json.dumps(document).encode()
    moment = str(int(time.time()))
    digest = hmac.digest(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hex()
    headers = {"content-type": "application/json", "x-signature": digest, "x-timestamp": moment}
    return load.post(port, f"/in/{connection}", body, headers)
