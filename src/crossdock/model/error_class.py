"""The kinds of trouble that a person tells apart, from what an answer said. Pure, and total over answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from crossdock.model.attempt import Answer, AnswerKind


class ErrorClass(StrEnum):
    """What kind of trouble an attempt met: what its owner would look at first. Stored and shown: never renamed."""

    DNS = "dns"  # the name has no address that may be called
    CONNECT = "connect"  # nobody took the connection
    TLS = "tls"  # the far end's certificate or handshake did not hold
    TIMEOUT = "timeout"  # connected, and no answer in time
    HTTP_3XX = "http_3xx"  # sent elsewhere: redirects are not followed
    HTTP_INVALID = "http_invalid"  # 400, 422: it does not take what it got
    HTTP_NOT_FOUND = "http_not_found"  # 404, 405: nothing of the kind at that path
    HTTP_CONFLICT = "http_conflict"  # 409, 412: it stands against what it has
    HTTP_GONE = "http_gone"  # 410: it will not be called again
    HTTP_TOO_LARGE = "http_too_large"  # 413, 414, 431
    HTTP_4XX = "http_4xx"  # the other refusals
    HTTP_5XX = "http_5xx"  # it broke
    THROTTLED = "throttled"  # 429, or a mail server's "later"
    REJECTED_ITEM = "rejected_item"  # it took the request and refused this event of it
    MAPPING = "mapping"  # no request can be made of this event
    CREDENTIAL = "credential"  # missing, unusable or refused
    FORBIDDEN = "forbidden"  # the contract or the guard of the way out allows no such call
    ANSWER = "answer"  # the answer cannot be read
    INTERNAL = "internal"  # our own fault


OF_STATUS: Mapping[int, ErrorClass] = {
    400: ErrorClass.HTTP_INVALID,
    401: ErrorClass.CREDENTIAL,
    403: ErrorClass.CREDENTIAL,
    404: ErrorClass.HTTP_NOT_FOUND,
    405: ErrorClass.HTTP_NOT_FOUND,
    409: ErrorClass.HTTP_CONFLICT,
    410: ErrorClass.HTTP_GONE,
    412: ErrorClass.HTTP_CONFLICT,
    413: ErrorClass.HTTP_TOO_LARGE,
    414: ErrorClass.HTTP_TOO_LARGE,
    422: ErrorClass.HTTP_INVALID,
    429: ErrorClass.THROTTLED,
    431: ErrorClass.HTTP_TOO_LARGE,
}
"""Statuses with a class of their own (RFC 9110 section 15, RFC 6585); the others go by their first digit."""

OF_CODE: Mapping[str, ErrorClass] = {
    "dns": ErrorClass.DNS,
    "connect": ErrorClass.CONNECT,
    "tls": ErrorClass.TLS,
    "driver_failed": ErrorClass.INTERNAL,
    "unreadable": ErrorClass.INTERNAL,
}

OF_KIND: Mapping[AnswerKind, ErrorClass] = {
    AnswerKind.BUSY: ErrorClass.THROTTLED,
    AnswerKind.BROKEN: ErrorClass.ANSWER,
    AnswerKind.REJECTED: ErrorClass.REJECTED_ITEM,
    AnswerKind.UNAUTHORISED: ErrorClass.CREDENTIAL,
    AnswerKind.GONE: ErrorClass.HTTP_GONE,
    AnswerKind.TIMEOUT: ErrorClass.TIMEOUT,
    AnswerKind.UNREACHABLE: ErrorClass.CONNECT,
    AnswerKind.FORBIDDEN: ErrorClass.FORBIDDEN,
    AnswerKind.UNRENDERABLE: ErrorClass.MAPPING,
}
"""By kind, where neither the code nor an HTTP status says more. TAKEN and UNSENT are no trouble."""


def error_class(answer: Answer) -> ErrorClass | None:
    """The class of an answer; None where nothing went wrong (TAKEN) or nothing was called (UNSENT)."""
    return class_of(answer.kind, answer.code, answer.status)


def class_of(kind: AnswerKind, code: str, status: int | None) -> ErrorClass | None:
    """`error_class` from what an attempt's row keeps."""
    if kind not in OF_KIND:
        return None
    if kind is AnswerKind.UNAUTHORISED:
        return ErrorClass.CREDENTIAL
    if code in OF_CODE:
        return OF_CODE[code]
    if status is not None and code == f"http_{status}":
        return OF_STATUS.get(status) or _BY_DIGIT.get(status // 100, ErrorClass.ANSWER)
    return OF_KIND[kind]


_BY_DIGIT = {3: ErrorClass.HTTP_3XX, 4: ErrorClass.HTTP_4XX, 5: ErrorClass.HTTP_5XX}
