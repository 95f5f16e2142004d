"""Every bound of Crossdock, with its unit in the name and its reason beside it. Tests compute the reasons.

A module that needs a bound takes it from here; a contract may set a tighter one, never a looser.
"""

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

KIB = 1024
MIB = 1024 * KIB

# Requests in
BODY_BYTES_MAX = 1 * MIB  # a webhook or one event; the largest published Shopify webhook stays below it
BULK_BODY_BYTES_MAX = 8 * MIB  # a batch of BATCH_EVENTS_MAX events of 8 KiB each
BATCH_EVENTS_MAX = 1_000  # one group commit takes it whole, in well under a second
HEADER_BYTES_MAX = 32 * KIB  # all header lines together
HEADERS_MAX = 100
TARGET_BYTES_MAX = 8 * KIB  # request line
HEADER_SECONDS_MAX = 5  # from the first byte (or the open) to the last header
BODY_GRACE_SECONDS = 5  # after that a body must flow at BODY_BYTES_PER_SECOND_MIN
BODY_BYTES_PER_SECOND_MIN = 500
KEEPALIVE_SECONDS = 30
JSON_DEPTH_MAX = 64  # far below the parser's own recursion limit
JSON_KEYS_MAX = 10_000
JSON_STRING_BYTES_MAX = 256 * KIB
JSON_NUMBER_DIGITS_MAX = 64
ID_CHARS_MAX = 255  # event ids, dedupe keys, correlation ids: they stand in an index
REPLAY_TOLERANCE_MS_MAX = 10 * MINUTE_MS  # rule X032: a longer window lets a stolen request live longer
CONNECTIONS_PER_ADDRESS_MAX = 256

# Journal
GROUP_COMMIT_ENTRIES_MAX = 512  # measured: 256 rows a commit reach 138k rows/s; more only adds latency
PENDING_APPENDS_MAX = 20_000  # beyond it ingest answers 503: memory stays bounded at about 20,000 x 8 KiB
READ_ENTRIES_MAX = 500
DOORS_REMEMBERED_MAX = 10_000  # doors whose settings are kept filled in: a few hundred bytes each
SUBJECT_KEYS_KNOWN_MAX = 50_000  # wrapped keys that a process remembers: about 15 MiB; one more costs a look-up
LANE_SKIPS_MAX = 64  # a lane opened and closed more often than that with a backlog is refused

# Delivery
WINDOW_ENTRIES_MAX = 256  # entries of one lane that a turn takes into memory
LANE_IN_FLIGHT_MAX = 64  # whatever a contract asks
STORE_WEIGHT_MAX = 16  # how much more of scarce senders one store may get than another: nobody starves behind it
STORE_IN_FLIGHT_MAX = 128  # so that one store can never take all senders
FAST_IN_FLIGHT_MAX = 384  # of a process, to far ends that answer soon
SLOW_IN_FLIGHT_MAX = 128  # of a process, to those that do not: together they hold no sender of the others
PROCESS_IN_FLIGHT_MAX = FAST_IN_FLIGHT_MAX + SLOW_IN_FLIGHT_MAX
SLOW_MS = 1_000  # a far end that takes longer is slow: for that long, at most, a hanging one holds fast senders
FAST_AGAIN_MS = 500  # half of it, so that nobody goes to and fro
CONCURRENCY_FIRST = 8  # what a far end gets that nothing is known of; it doubles with each round that goes well
ANSWER_SECONDS_MAX = 120  # a contract's timeout is at most this (rule R004)
ANSWER_BYTES_MAX = 64 * KIB  # what is read of an answer; batches with per-item results get 1 MiB
BATCH_ANSWER_BYTES_MAX = 1 * MIB
ANSWER_HEADER_BYTES_MAX = 32 * KIB
RETRY_AFTER_MS_MAX = 6 * HOUR_MS  # a far end cannot silence a lane for longer with one header
POLL_MS = 250  # hints are lost: how late a poll of the heads may find news

# Contracts
CONTRACT_BYTES_MAX = 256 * KIB
EXPRESSION_CHARS_MAX = 500
MAPPING_CHARS_MAX = 8_000
EXPRESSION_DEPTH_MAX = 12
PERSONAL_RETENTION_MS_MAX = 90 * DAY_MS

# People
TOKEN_DAYS_MAX = 366
TOKEN_DAYS_DEFAULT = 90
PAGE_ITEMS_MAX = 200
LONG_POLL_SECONDS_MAX = 30  # below the idle timeout of common proxies (60 s)
INBOX_ITEMS_MAX = 500
CONFIG_BYTES_MAX = 64 * KIB
SECRET_BYTES_MAX = 8 * KIB
LANE_HELD_MAX = 1_000  # retrying and waiting rows of one lane; beyond it new entries stay after the cursor
TURN_MS_MAX = 2_000  # after that a turn sends nothing new and settles: a crash repeats little
DRIVER_GRACE_MS = 2_000  # a driver ends by the route's timeout itself; what hangs longer is cut off
QUANTUM_COST = WINDOW_ENTRIES_MAX  # what a store may spend before the next is served, when senders are scarce
COST_BYTES = 16 * KIB  # a call costs one, and one more for so much of a body: a large event is not a small one's equal
RETRY_SHARE = 0.2  # of the first attempts of a far end may be followed by retries: nobody is attacked by patience
RETRY_TRUST = 10  # good answers in a row, and a far end has come back: half of them failing reach it once in a thousand
RETRIES_SAVED_MAX = 200  # tokens that a far end can save up: a burst of failures after much success, no more
RETRIES_GRANTED_MAX = 20  # retries that a far end gets without having earned them: as many as trip its breaker
RETRIES_GRANTED_PER_MINUTE = 10  # and so many more each minute: a quiet far end is retried every six seconds
PROCESS_RETRIES_PER_SECOND = 100  # that are granted, to all far ends together: thousands that are down do not add up
STORE_RETRIES_PER_SECOND = 25  # of these: one store's far ends leave three quarters to the others
BREAKER_FAILURES = 20  # in a row, and the connection rests: far above chance, far below a window
BREAKER_OPEN_MS_MIN = 1_000  # the first rest; it doubles with each probe that fails
BREAKER_OPEN_MS_MAX = 60_000  # so that a receiver that came back is noticed within a minute
CONCURRENCY_CUT_MS = 1_000  # concurrency is halved at most once in that time: one burst of 429 is one sign
DRAIN_SECONDS = 10  # what turns under way get to end by themselves when the process stops
TURN_RETRY_MS = 1_000  # a turn that failed for a reason of ours is tried again after that

# Rates in: GCRA meters, before any quota that a contract sets
LISTENER_PER_SECOND_MAX = 20_000  # above what two cores keep durably (12,000 to 19,000 measured), below collapse
ADDRESS_PER_SECOND_MAX = 10_000  # a provider sends the webhooks of all its shops from few addresses
STORE_PER_SECOND_MAX = 10_000  # half the listener: a second store always finds room
FAILURES_PER_PATH_PER_MINUTE_MAX = 60  # of one address at one path: a wrong secret is seen, a guess goes nowhere
FAILURES_PER_ADDRESS_PER_MINUTE_MAX = 600  # one address may carry many senders: ten wrong paths do not stop the rest
REPLAY_EVENTS_MAX = LANE_HELD_MAX  # each becomes a held row: one replay can fill a lane, not overrun it
REPLAY_PER_SECOND = 50  # how fast replayed entries come due, beside what is new
SETTLE_TRIES_MAX = 5  # of a mark on an inbox whose lane keeps moving

# Many processes on one database
SLOTS = 1_024  # lanes are spread over them: 100 processes still have ten each, and one statement reads them all
LEASE_MS = 10_000  # after a crash its lanes rest this long; a pause of a healthy process stays well below it
BEAT_MS = 2_500  # a quarter of the lease: three beats may be lost
CHANGES_POLL_MS = 500  # how late a change by another process is seen: a revoked token ends within a second
LEASE_MARGIN_MS = 1_000  # so much earlier a lease ends for its holder: what it was about to send has left by then
BEAT_MS_MAX = LEASE_MS // 2  # a beat without an answer for that long is given up, and the next one tried
KNOWN_STORES_MAX = 20_000  # stores whose open lanes a deliverer remembers, some hundred bytes each; else one look-up
STORES_ASKED_MAX = 1_000  # by one look-up of lanes
FADE_MS = 5_000  # how often a deliverer looks for what it need not remember any more
