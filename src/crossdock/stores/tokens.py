"""API tokens: `cdt_<id>_<secret>`, shown once, kept as the SHA-256 of the secret, scoped, expiring, revocable."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from crossdock.model.connection import Principal, Role, Token
from crossdock.model.errors import Invalid, Unauthenticated
from crossdock.model.ids import Instant, StoreId, TokenId, base32
from crossdock.model.limits import DAY_MS, TOKEN_DAYS_MAX
from crossdock.stores.authority import scope_fits
from crossdock.stores.port import Change, Changes, Registry, RevokeToken

FORM = re.compile(r"cdt_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})")
CACHE_MS = 30_000  # how long a token revoked by another process may still be taken, where no watch tells of it
CACHED_MAX = 10_000
NOBODY = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token and the text that is shown once."""

    token: Token
    text: str


@dataclass(frozen=True, slots=True)
class TokenWish:
    role: Role
    store: StoreId | None
    label: str
    days: int


def mint(wish: TokenWish, now: Instant, random: Callable[[int], bytes]) -> Minted:
    """Invalid (CD3022) for a life outside 1..TOKEN_DAYS_MAX days, or a role and a scope that do not go together."""
    if not 1 <= wish.days <= TOKEN_DAYS_MAX:
        raise Invalid("CD3022", f"A token lives 1 to {TOKEN_DAYS_MAX} days.", where="/days")
    if not scope_fits(wish.role, wish.store):
        raise Invalid(
            "CD3022",
            f"A token of the role {wish.role} {'names no store' if wish.store else 'must name its store'}.",
            where="/store",
        )
    name = TokenId(base32(random(17), 26))
    secret = base64.urlsafe_b64encode(random(32)).decode().rstrip("=")
    token = Token(
        id=name,
        digest=hashlib.sha256(secret.encode()).digest(),
        role=wish.role,
        store=wish.store,
        label=wish.label,
        created_at=now,
        expires_at=Instant(now + wish.days * DAY_MS),
    )
    return Minted(token, f"cdt_{name}_{secret}")


def principal_of(token: Token) -> Principal:
    return Principal(name=f"token:{token.id}", role=token.role, store=token.store)


def refused() -> Unauthenticated:
    """One answer for whatever is wrong with a token."""
    return Unauthenticated(
        "CD3020",
        "A valid token is needed.",
        remedy="Send `Authorization: Bearer cdt_...`; if need be, ask for a new one.",
    )


class Tokens:
    """Tells who calls. Rows are kept in memory for CACHE_MS; a revocation in this process takes hold at once."""

    def __init__(self, registry: Registry, clock: Callable[[], Instant]) -> None:
        self._registry = registry
        self._clock = clock
        self._cache: dict[TokenId, tuple[Token, Instant]] = {}
        self._generation = 0
        registry.on_change(self._changed)

    async def principal(self, text: str) -> Principal:
        """Unauthenticated (CD3020), always in the same words, unless the token stands, now."""
        form = FORM.fullmatch(text)
        if form is None:
            raise refused()
        token = await self._row(TokenId(form.group(1)))
        given = hashlib.sha256(form.group(2).encode()).digest()
        known = hmac.compare_digest(given, token.digest if token is not None else NOBODY)
        if token is None or not known or token.revoked_at is not None or token.expires_at <= self._clock():
            raise refused()
        return principal_of(token)

    async def bearer(self, header: str | None) -> Principal:
        """The principal of an Authorization header's value."""
        scheme, _, text = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            raise refused()
        return await self.principal(text.strip())

    async def _row(self, name: TokenId) -> Token | None:
        now = self._clock()
        kept = self._cache.get(name)
        if kept is not None and kept[1] > now:
            return kept[0]
        generation = self._generation
        token = await self._registry.token(name)
        # Only rows that exist are kept, so that guesses cannot fill the memory.
        if token is not None and generation == self._generation:
            if len(self._cache) >= CACHED_MAX:
                self._cache.clear()
            self._cache[name] = (token, Instant(now + CACHE_MS))
        return token

    def _changed(self, change: Change) -> None:
        for write in change.writes:
            if isinstance(write, RevokeToken):
                self._generation += 1
                self._cache.pop(write.token, None)

    def refresh(self, changes: Changes) -> None:
        """Somebody has changed these stores, or the platform: their tokens are read anew."""
        self._generation += 1
        for name, (token, _) in list(self._cache.items()):
            if changes.platform if token.store is None else token.store in changes.stores:
                del self._cache[name]
