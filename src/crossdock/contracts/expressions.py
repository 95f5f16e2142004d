"""JMESPath over plain JSON, and `{name}` templates: the only logic a contract can hold.

Expressions are compiled once. They are bounded in length and depth when a contract is read, they cannot loop beyond
their document, and they see nothing but it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import quote

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from jmespath.visitor import Options

from crossdock.contracts import functions
from crossdock.model.errors import Invalid
from crossdock.model.ids import Json
from crossdock.model.limits import EXPRESSION_DEPTH_MAX

_OPTIONS = Options(custom_functions=functions.Mapping())
_KNOWN = frozenset(
    name.removeprefix("_func_") for kind in (Functions, functions.Mapping) for name in dir(kind) if name[:6] == "_func_"
)
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\}")
_BRACE = re.compile(r"[{}]")


@lru_cache(maxsize=4_096)
def _compiled(expression: str) -> ParsedResult:
    try:
        return jmespath.compile(expression)
    except (JMESPathError, RecursionError) as error:
        raise Invalid(
            "CD2002",
            "This is not a JMESPath expression.",
            remedy="Try it at jmespath.org; text literals stand in single quotes, JSON literals in backticks.",
        ) from error


def evaluate(expression: str, document: Json) -> Json:
    """What the expression yields; Invalid (CD2003) where a function meets a value that it cannot take."""
    compiled = _compiled(expression)
    try:
        result: Json = compiled.search(document, options=_OPTIONS)
    except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise Invalid(
            "CD2003",
            "The expression cannot be evaluated over this document.",
            remedy="Check the types of the fields that it names; use `||` or not_null() for absent ones.",
            facts={"kind": type(error).__name__},
        ) from error
    return result


def predicate(expression: str, document: Json) -> bool:
    """True only where the expression yields true: a condition that yields anything else does not hold."""
    return evaluate(expression, document) is True


def check(expression: str, chars_max: int) -> None:
    """Invalid (CD2002) where it does not parse, is longer or deeper than its bound, or calls an unknown function."""
    if len(expression) > chars_max:
        raise Invalid("CD2002", f"The expression is longer than {chars_max} characters.", remedy="Shorten it.")
    tree: object = _compiled(expression).parsed
    if _depth(tree) > EXPRESSION_DEPTH_MAX:
        raise Invalid("CD2002", f"The expression nests deeper than {EXPRESSION_DEPTH_MAX}.", remedy="Flatten it.")
    unknown = sorted(_called(tree) - _KNOWN)
    if unknown:
        raise Invalid(
            "CD2002", f"There is no function {unknown[0]}.", remedy=f"Own functions: {', '.join(functions.NAMES)}."
        )


def _depth(tree: object) -> int:
    """Levels of expressions. The pairs of an object belong to its own level."""
    deepest, level = 0, [(tree, 1)]
    while level:
        node, depth = level.pop()
        if isinstance(node, dict):
            deepest = max(deepest, depth)
            step = 0 if node.get("type") in ("key_val_pair", "subexpression") else 1
            level.extend((child, depth + step) for child in node.get("children", ()))
    return deepest


def _called(tree: object) -> set[str]:
    names: set[str] = set()
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if node.get("type") == "function_expression":
                names.add(str(node.get("value")))
            todo.extend(node.get("children", ()))
    return names


def slots(template: str) -> tuple[str, ...]:
    """The names that a template needs, in order; Invalid (CD2004) where a brace belongs to none."""
    if _BRACE.search(_SLOT.sub("", template)):
        raise Invalid(
            "CD2004", "A brace in this template belongs to no {name}.", remedy="Write {name} or {object.name}."
        )
    return tuple(_SLOT.findall(template))


def fill(template: str, names: Mapping[str, Json]) -> str:
    """`{name}` and `{object.name}` filled with text, numbers and booleans; Invalid (CD2004) where one is absent."""
    return _SLOT.sub(lambda slot: _text(slot.group(1), names), template)


def fill_path(template: str, names: Mapping[str, Json]) -> str:
    """As `fill`, each value percent-encoded as one path segment (RFC 3986): no slash, dot segment or query gets in."""
    return _SLOT.sub(lambda slot: _segment(slot.group(1), names), template)


def _segment(name: str, names: Mapping[str, Json]) -> str:
    text = _text(name, names)
    if text in ("", ".", ".."):
        raise Invalid("CD2004", f"The value of {name} cannot be a path segment.", where=name)
    return quote(text, safe="", errors="replace")


def _text(name: str, names: Mapping[str, Json]) -> str:
    value: Json = dict(names) if not isinstance(names, dict) else names
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return _WRITE.get(type(value), _unwritable)(value, name)


def _unwritable(value: Json, name: str) -> str:
    raise Invalid(
        "CD2004", f"There is no text for {name} in this event.", where=name, remedy="List the field, or drop it."
    )


_WRITE: dict[type, Callable[[Json, str], str]] = {
    str: lambda value, name: str(value),
    int: lambda value, name: str(value),
    float: lambda value, name: repr(value),
    bool: lambda value, name: "true" if value else "false",
}
