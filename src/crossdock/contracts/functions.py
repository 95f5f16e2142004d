"""The named functions that a mapping may use besides JMESPath's own: pure, total over their types, no clock.

Each answers null for null, so that an absent field stays absent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import NotRequired, TypedDict

from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature

from crossdock.model.ids import Json

MINOR_DIGITS = {
    "BHD": 3, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0, "KMF": 0, "KRW": 0,
    "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0,
    "XOF": 0, "XPF": 0,
}  # fmt: skip
"""ISO 4217: digits of the minor unit where they are not 2."""

TEXT_CHARS_MAX = 64  # of a number or a date written as text


class Signature(TypedDict):
    """What jmespath wants to know of an argument."""

    types: list[str]
    variadic: NotRequired[bool]


class Unmappable(JMESPathError):
    """A value has the right type and no meaning here: a date that is none, an amount that is no number."""


_ANYTHING: Signature = {"types": []}
_WORD: Signature = {"types": ["string"]}
_NUMBER: Signature = {"types": ["number"]}
_NUMBER_OR_NULL: Signature = {"types": ["number", "null"]}
_SCALAR: Signature = {"types": ["string", "number", "null"]}
_TEXT: Signature = {"types": ["string", "null"]}


def _decimal(value: str | float) -> Decimal:
    text = str(value)
    try:
        number = Decimal(text) if len(text) <= TEXT_CHARS_MAX else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number.adjusted() > 30:
        raise Unmappable("not an amount")
    return number


def _instant(value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value[:TEXT_CHARS_MAX])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unmappable("not a date and time") from error


def _compact(value: Json) -> Json:
    if isinstance(value, dict):
        kept = {name: _compact(item) for name, item in value.items() if item is not None}
        return {name: item for name, item in kept.items() if item != {} or value[name] == {}}
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return value


class Mapping(Functions):
    """Found by JMESPath through the prefix `_func_`."""

    @signature(_SCALAR, _WORD)
    def _func_to_minor_units(self, amount: str | float | None, currency: str) -> int | None:
        """12.34, 'EUR' -> 1234 (ISO 4217). Half a unit is rounded away from zero."""
        if amount is None:
            return None
        with localcontext() as context:
            context.prec = 60
            context.rounding = "ROUND_HALF_UP"
            return int(_decimal(amount).scaleb(MINOR_DIGITS.get(currency, 2)).quantize(Decimal(1)))

    @signature(_SCALAR, _NUMBER)
    def _func_to_decimal_string(self, amount: str | float | None, digits: float) -> str | None:
        """12.3, 2 -> '12.30'."""
        if amount is None:
            return None
        with localcontext() as context:
            context.prec = 60
            context.rounding = "ROUND_HALF_UP"
            return format(_decimal(amount).quantize(Decimal(1).scaleb(-min(max(int(digits), 0), 12))), "f")

    @signature(_SCALAR)
    def _func_to_amount(self, amount: str | float | None) -> float | int | None:
        """'12.30' -> 12.3; a text that is no number is unmappable, where to_number would silently give null."""
        if amount is None:
            return None
        number = _decimal(amount)
        return int(number) if number == number.to_integral_value() else float(number)

    @signature(_TEXT)
    def _func_iso_date(self, value: str | None) -> str | None:
        """The date in UTC of an ISO 8601 date and time: YYYY-MM-DD."""
        return None if value is None else _instant(value).date().isoformat()

    @signature(_TEXT)
    def _func_utc_time(self, value: str | None) -> str | None:
        """An ISO 8601 date and time in UTC, to the second: YYYY-MM-DDThh:mm:ssZ."""
        return None if value is None else _instant(value).strftime("%Y-%m-%dT%H:%M:%SZ")

    @signature(_TEXT)
    def _func_upper(self, value: str | None) -> str | None:
        return None if value is None else value.upper()

    @signature(_TEXT)
    def _func_lower(self, value: str | None) -> str | None:
        return None if value is None else value.lower()

    @signature(_TEXT)
    def _func_trim(self, value: str | None) -> str | None:
        """Without white space around it; null when nothing is left."""
        return None if value is None else value.strip() or None

    @signature(_TEXT, _NUMBER)
    def _func_truncate(self, value: str | None, chars: float) -> str | None:
        return None if value is None else value[: max(int(chars), 0)]

    @signature(_NUMBER_OR_NULL, _NUMBER)
    def _func_minus(self, value: float | None, less: float) -> float | None:
        """JMESPath has no arithmetic; stock less what is kept back needs this much."""
        return None if value is None else value - less

    @signature(_ANYTHING)
    def _func_compact(self, value: Json) -> Json:
        """Without keys whose value is null, at any depth, and without objects that became empty by it."""
        return _compact(value)


NAMES = tuple(sorted(name.removeprefix("_func_") for name in vars(Mapping) if name.startswith("_func_")))
