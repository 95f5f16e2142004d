"""JSON Schema 2020-12, compiled once, with formats asserted.

A remote reference is never fetched, and patterns run on an engine whose time is linear in its input, so a schema of a
contract can neither call out nor be made to hang.
"""

from __future__ import annotations

from dataclasses import dataclass

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError, ValidationErrorKind

from crossdock.contracts.identity import ByIdentity
from crossdock.contracts.pointers import written
from crossdock.model.errors import Invalid
from crossdock.model.ids import Json, JsonObject

PROBLEMS_MAX = 20  # a sender learns enough from these; an answer stays small


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Where in the instance (JSON Pointer) and which keyword of the schema. Never a value."""

    pointer: str
    rule: str


class Compiled:
    """A schema ready for use. Instances are what a JSON parser gives."""

    __slots__ = ("_validator",)

    def __init__(self, document: JsonObject) -> None:
        """Invalid (CD2001) where `document` is no schema, refers outside itself, or uses an unsafe pattern."""
        try:
            self._validator = Draft202012Validator(
                document, validate_formats=True, pattern_options=RegexOptions(), offline=True
            )
        except (ValidationError, ValueError) as error:
            raise Invalid(
                "CD2001",
                "This is not a usable JSON Schema.",
                remedy="Use draft 2020-12, references inside the document only, patterns without look-around.",
            ) from error

    def valid(self, instance: Json) -> bool:
        return self._validator.is_valid(instance)

    def problems(self, instance: Json) -> list[Problem]:
        """Every problem up to PROBLEMS_MAX, by pointer; empty for a valid instance."""
        if self._validator.is_valid(instance):
            return []
        found: list[Problem] = []
        for error in self._validator.iter_errors(instance):
            found.append(_problem(error))
            if len(found) == PROBLEMS_MAX:
                break
        return sorted(set(found))


def _problem(error: ValidationError) -> Problem:
    path = [str(token) for token in error.instance_path]
    if isinstance(error.kind, ValidationErrorKind.Required):
        path.append(str(error.kind.property).strip('"'))
    return Problem(written(path), error.kind.name)


_COMPILED: ByIdentity[JsonObject, Compiled] = ByIdentity(Compiled)


def compiled(schema_document: JsonObject) -> Compiled:
    """The document compiled, once per document object: it must not change afterwards."""
    return _COMPILED.of(schema_document)


def validate(schema_document: JsonObject, instance: Json) -> list[Problem]:
    return _COMPILED.of(schema_document).problems(instance)
