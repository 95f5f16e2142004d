"""What PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5802 and RFC 7677): sent in its place, so that no log of the
server, which may write each statement down, has the password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Callable

ROUNDS = 4096  # what PostgreSQL takes by itself
FORBIDDEN: tuple[Callable[[str], bool], ...] = (
    *(stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3),
    *(stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7),
    *(stringprep.in_table_c8, stringprep.in_table_c9),
)


def scram(password: str, salt: bytes) -> str:
    """As PASSWORD '...' takes it."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ROUNDS}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


def prepared(password: str) -> str:
    """SASLprep (RFC 4013); what it forbids is taken as it is, as PostgreSQL and its clients do."""
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one for one in password if not stringprep.in_table_b1(one)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    forbidden = not normal or any(table(one) for one in normal for table in FORBIDDEN)
    return password if forbidden or _mixed(normal) else normal


def _mixed(text: str) -> bool:
    """Right-to-left together with left-to-right, or not at both ends (RFC 3454, section 6)."""
    if not any(map(stringprep.in_table_d1, text)):
        return False
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return not ends or any(map(stringprep.in_table_d2, text))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
