"""A contract, parsed: the one law of what may move, where to, under which name and in which shape.

`contracts.load` makes these from YAML; nothing above reads YAML again. Durations are milliseconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from crossdock.model.ids import ContractId, JsonObject, RouteName


class DataClass(IntEnum):
    """How closely a field is kept, in rising order. PII and SENSITIVE are personal: they are split from the body."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    PII = 3
    SENSITIVE = 4

    @property
    def personal(self) -> bool:
        return self >= DataClass.PII


class Direction(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BIDIRECTIONAL = "bidirectional"  # of a contract only: a route goes one way


class Status(StrEnum):
    DRAFT = "draft"
    ACCEPTED = "accepted"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class Owner(StrEnum):
    STORE = "store"
    PLATFORM = "platform"


class Surface(StrEnum):
    STOREFRONT = "storefront"
    BACKEND = "backend"
    ADMIN = "admin"
    PLATFORM = "platform"


class Purpose(StrEnum):
    """The purposes that the governing document names (sections 4 and 5.2)."""

    MARKETPLACE = "marketplace"
    ANALYTICS = "analytics"
    NOTIFICATION = "notification"
    WEBHOOK = "webhook"
    ORDER_INGESTION = "order_ingestion"
    CATALOG_IMPORT = "catalog_import"
    OBSERVABILITY = "observability"
    CI_CD = "ci_cd"
    INFRASTRUCTURE = "infrastructure"


class Environment(StrEnum):
    """One per installation. Only `production` uses live hosts; only `local` may reach loopback."""

    LOCAL = "local"
    STAGING = "staging"
    PRODUCTION = "production"


class Protect(StrEnum):
    """How a personal field leaves: as it is (with a reason), or as a keyed hash that joins only inside a store."""

    PLAIN = "plain"
    HMAC = "hmac"
    ENCRYPT = "encrypt"  # inbound: sealed at rest, given to the core in the clear


class Collapse(StrEnum):
    NONE = "none"
    LATEST_PER_KEY = "latest_per_key"


class Queued(StrEnum):
    """What happens on disable to what is queued."""

    HOLD = "hold"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class EventSchema:
    """An event type at a major version: its JSON Schema 2020-12 with a data class per field (`x-class`), and where the
    data subject is named (`x-subject`: JSON pointers, first present wins)."""

    type: str
    major: int
    document: JsonObject
    classes: Mapping[str, DataClass]
    subject: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.type}@{self.major}"


@dataclass(frozen=True, slots=True)
class FieldRule:
    pointer: str
    data_class: DataClass
    protect: Protect | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class CredentialSlot:
    """A named place for a credential. `secret` False means public (a client id)."""

    name: str
    secret: bool
    rotate_ms: int | None = None
    overlap_ms: int = 0
    managed: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """A host that the contract may call: one literal name for production, another for everything else.

    `operator` names a host that the operator of the installation sets (a mail relay), instead of live and sandbox.
    `store_url` names a config key that holds a URL (the custom webhook only). `port` 0 means the scheme's own.
    """

    name: str
    live: str
    sandbox: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    port: int = 0
    operator: str = ""
    store_url: str = ""


class AuthScheme(StrEnum):
    NONE = "none"
    BEARER = "bearer"
    API_KEY_HEADER = "api_key_header"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class Auth:
    scheme: AuthScheme = AuthScheme.NONE
    secret: str = ""
    header: str = ""
    username: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` a `per_ms`, with `burst` at once."""

    limit: int
    per_ms: int
    burst: int


@dataclass(frozen=True, slots=True)
class Account:
    """What the far end counts calls by, and how many it takes: one quota, shared by all outbound routes of a
    connection, and by all connections of a store whose config field `by` has the same value."""

    rate: Rate
    by: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request of the `http-json` driver. `path` may name fields of the event's data as {pointer-less.name};
    `mapping` is a JMESPath expression over {event, data, config}; without one the data goes as it is."""

    method: str
    to: str
    path: str
    mapping: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    item_id: str = ""
    """Batches: JMESPath in an item of the answer that gives the item's key; see `Batch`."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message of the `smtp` driver. The texts are templates that may name listed fields and config as {name}."""

    to_destination: str
    sender: str
    recipient: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Several events in one request. With `per_item`, the answer is a JSON document: `results` is a JMESPath that
    yields one object per event in order, `status` in it is an HTTP status; without, the answer holds for all."""

    items_max: int
    body_bytes_max: int
    wait_ms_max: int
    per_item: bool
    results: str = ""
    status: str = "status"


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    timeout_ms: int = 10_000
    concurrency: int = 4
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Full jitter over an exponential schedule. `permanent` and `auth` are statuses (SMTP's too)."""

    first_ms: int
    max_ms: int
    attempts_max: int
    for_ms: int
    permanent: frozenset[int] = frozenset()
    auth: frozenset[int] = frozenset({401, 403})
    pause_when_exhausted: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyRule:
    """`sources` are names: `event.id`, `route.name`, `header.<name>`, or a JSON pointer into what came in."""

    sources: tuple[str, ...]
    header: str = ""
    window_ms: int = 0


class Verify(StrEnum):
    STANDARD_WEBHOOKS = "standard-webhooks"
    SHOPIFY = "shopify"
    GENERIC_HMAC = "generic-hmac"


@dataclass(frozen=True, slots=True)
class Source:
    """How a sender proves itself. `knobs` are the scheme's own settings (see its page); values may name config as
    {config.name}. `topic_header` with `topics`: what else comes is refused. `payload_schema` checks what came in,
    before it is mapped."""

    verify: Verify
    secret: str
    tolerance_ms: int
    knobs: Mapping[str, str] = field(default_factory=dict)
    topic_header: str = ""
    topics: frozenset[str] = frozenset()
    payload_schema: JsonObject | None = None
    accepted_status: int = 202


@dataclass(frozen=True, slots=True)
class InboundLimits:
    body_bytes_max: int
    rate: Rate
    backlog_max: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    payload_ms: int
    attempts_ms: int
    parked_ms: int
    personal_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A flow of a contract in one direction. `when` is a JMESPath predicate over {event, data, config}."""

    name: RouteName
    direction: Direction
    driver: str
    event: EventSchema
    fields: tuple[FieldRule, ...]
    delivery: DeliveryRule
    retry: RetryRule
    retention: Retention
    scopes: tuple[str, ...] = ()
    when: str | None = None
    mapping: str | None = None
    ordering: tuple[str, ...] = ()
    """JSON pointers; empty means `none`: no order is kept. The store always comes first, by construction."""
    idempotency: IdempotencyRule = IdempotencyRule(("event.id",))
    collapse: Collapse = Collapse.NONE
    expires_after_ms: int | None = None
    refuses_replay: bool = False
    request: Request | None = None
    mail: Mail | None = None
    webhook_to: str = ""
    webhook_secret: str = ""
    batch: Batch | None = None
    source: Source | None = None
    limits: InboundLimits | None = None
    reject_unknown_fields: bool = False


@dataclass(frozen=True, slots=True)
class Coupling:
    """What ties the two directions of a bidirectional integration together, written down."""

    correlate_ours: str
    correlate_theirs: str
    owner_of: Mapping[str, str]
    conflict: str
    drop_own_origin: bool
    echo_window_ms: int
    hops_max: int
    reconcile: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    enable_needs: tuple[str, ...]
    queued: Queued
    keep_versions: int


@dataclass(frozen=True, slots=True)
class Check:
    """A harmless call that proves the credentials."""

    method: str
    to: str
    path: str
    expect: int


@dataclass(frozen=True, slots=True)
class Contract:
    """Immutable at id@version. `origin` is the file it came from, `digest` the SHA-256 (hex) of all its files."""

    id: ContractId
    version: str
    status: Status
    title: str
    summary: str
    owner: Owner
    owner_contact: str
    surface: Surface
    direction: Direction
    purpose: Purpose
    scopes: tuple[str, ...]
    credentials: tuple[CredentialSlot, ...]
    destinations: tuple[Destination, ...]
    auth: Auth
    config: JsonObject
    routes: tuple[Route, ...]
    lifecycle: Lifecycle
    coupling: Coupling | None = None
    check: Check | None = None
    account: Account | None = None
    page: str = ""
    origin: str = ""
    digest: str = ""

    @property
    def ref(self) -> str:
        return f"{self.id}@{self.version}"

    def route(self, name: str) -> Route | None:
        return next((route for route in self.routes if route.name == name), None)

    def slot(self, name: str) -> CredentialSlot | None:
        return next((slot for slot in self.credentials if slot.name == name), None)

    def destination(self, name: str) -> Destination | None:
        return next((one for one in self.destinations if one.name == name), None)

    def going(self, direction: Direction) -> tuple[Route, ...]:
        return tuple(route for route in self.routes if route.direction is direction)
