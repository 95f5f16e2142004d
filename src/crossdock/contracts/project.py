"""What of an event may move: split off the personal part, put it back, and cut to a contract's field list.

Results share sub-objects with their input: events are never changed in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from crossdock.contracts.identity import ByIdentity
from crossdock.contracts.pointers import EACH, MISSING, Missing, index_of, tokens_of, value_at, written
from crossdock.model.contract import DataClass, FieldRule, Protect
from crossdock.model.errors import Bug
from crossdock.model.ids import Json, JsonObject

__all__ = ["MISSING", "join", "minimise", "split", "unlisted", "value_at"]

UNLISTED_MAX = 20  # pointers shown of what no rule lists; more would only repeat the point

Path = tuple[str, ...]
Pepper = Callable[[str], str]


@dataclass(slots=True)
class _Tree:
    """Pointers as a tree. `each` is what follows `*`; `leaf` marks a pointer's end."""

    children: dict[str, _Tree] = field(default_factory=dict)
    each: _Tree | None = None
    leaf: bool = False
    hashed: bool = False

    def grow(self, pointer: str, *, hashed: bool = False) -> None:
        at = self
        for token in tokens_of(pointer):
            if token == EACH:
                at.each = at.each or _Tree()
                at = at.each
            else:
                at = at.children.setdefault(token, _Tree())
        at.leaf = True
        at.hashed = hashed


def _personal_tree(classes: Mapping[str, DataClass]) -> _Tree:
    tree = _Tree()
    for pointer, data_class in classes.items():
        if data_class.personal:
            tree.grow(pointer)
    return tree


def _field_tree(fields: tuple[FieldRule, ...]) -> _Tree:
    tree = _Tree()
    for rule in fields:
        tree.grow(rule.pointer, hashed=rule.protect is Protect.HMAC)
    return tree


_PERSONAL: ByIdentity[Mapping[str, DataClass], _Tree] = ByIdentity(_personal_tree)
_FIELDS: ByIdentity[tuple[FieldRule, ...], _Tree] = ByIdentity(_field_tree)


def split(data: JsonObject, classes: Mapping[str, DataClass]) -> tuple[JsonObject, JsonObject]:
    """(body, personal): the fields classed as personal leave the body and stand by their concrete pointer.

    A personal element of an array leaves a null in its place, so that its neighbours keep theirs.
    `join(*split(data, classes)) == data` for every JSON object.
    """
    tree = _PERSONAL.of(classes)
    if not tree.children:
        return data, {}
    personal: JsonObject = {}
    body = _without(data, tree, (), personal)
    if not isinstance(body, dict):
        raise Bug("CD2007", "A whole event cannot be personal: classes belong to its fields.")
    return body, personal


def _without(value: Json, tree: _Tree, path: Path, personal: JsonObject) -> Json:
    if isinstance(value, dict):
        return _object_without(value, tree, path, personal)
    if isinstance(value, list) and tree.each is not None:
        each = tree.each
        kept: list[Json] = []
        for index, item in enumerate(value):
            here = (*path, str(index))
            if each.leaf:
                personal[written(here)] = item
                kept.append(None)
            else:
                kept.append(_without(item, each, here, personal))
        return kept
    return value


def _object_without(value: JsonObject, tree: _Tree, path: Path, personal: JsonObject) -> JsonObject:
    if not tree.children:
        return value
    kept: JsonObject = {}
    for name, item in value.items():
        branch = tree.children.get(name)
        if branch is None:
            kept[name] = item
        elif branch.leaf:
            personal[written((*path, name))] = item
        else:
            kept[name] = _without(item, branch, (*path, name), personal)
    return kept


def join(body: JsonObject, personal: JsonObject | None) -> JsonObject:
    """The event as it was before `split`. Without `personal` (an erased person) the body alone."""
    if not personal:
        return body
    whole: JsonObject = dict(body)
    copied: dict[Path, JsonObject | list[Json]] = {(): whole}
    for pointer, value in personal.items():
        path = tokens_of(pointer)
        _put(_holder(copied, path[:-1]), path[-1], value)
    return whole


def _holder(copied: dict[Path, JsonObject | list[Json]], path: Path) -> JsonObject | list[Json]:
    found = copied.get(path)
    if found is not None:
        return found
    parent = _holder(copied, path[:-1])
    child = _child(parent, path[-1])
    fresh: JsonObject | list[Json] = dict(child) if isinstance(child, dict) else list(child)
    _put(parent, path[-1], fresh)
    copied[path] = fresh
    return fresh


def _child(parent: JsonObject | list[Json], token: str) -> JsonObject | list[Json]:
    child = value_at(parent, written((token,)))
    if isinstance(child, dict | list):
        return child
    raise Bug("CD2008", "The personal part of an event does not fit its body.")


def _put(holder: JsonObject | list[Json], token: str, value: Json) -> None:
    if isinstance(holder, dict):
        holder[token] = value
        return
    index = index_of(token, len(holder))
    if index is None:
        raise Bug("CD2008", "The personal part of an event does not fit its body.")
    holder[index] = value


def minimise(data: JsonObject, fields: tuple[FieldRule, ...], pepper: Pepper) -> JsonObject:
    """Only what the rules list, with what is `protect: hmac` replaced by `pepper(text)`.

    A listed pointer carries its whole subtree. Arrays under a `*` keep their length. An object of which nothing is
    listed or present is left out.
    """
    cut = _cut(data, _FIELDS.of(fields), pepper)
    return cut if isinstance(cut, dict) else {}


def _cut(value: Json, tree: _Tree, pepper: Pepper) -> Json | Missing:
    if isinstance(value, dict) and tree.children:
        kept: JsonObject = {}
        for name, branch in tree.children.items():
            if name in value:
                item = _cut(value[name], branch, pepper)
                if item is not MISSING:
                    kept[name] = item
        return kept or MISSING
    if isinstance(value, list) and tree.each is not None:
        cut = [_cut(item, tree.each, pepper) for item in value]
        return [{} if item is MISSING else item for item in cut]
    # A tree with branches names parts; where the value has none, nothing of it is listed.
    if not tree.leaf or tree.children or tree.each is not None:
        return MISSING
    return _hashed(value, pepper) if tree.hashed else value


def _hashed(value: Json, pepper: Pepper) -> Json:
    if value is None:
        return None
    if isinstance(value, str):
        return pepper(value)
    return pepper(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def unlisted(data: JsonObject, fields: tuple[FieldRule, ...]) -> tuple[str, ...]:
    """Pointers of what is in `data` and no rule lists, topmost only, at most UNLISTED_MAX of them."""
    found: list[str] = []
    _unlisted(data, _FIELDS.of(fields), (), found)
    return tuple(found[:UNLISTED_MAX])


def _unlisted(value: Json, tree: _Tree, path: Path, found: list[str]) -> None:
    if len(found) >= UNLISTED_MAX or (tree.leaf and not tree.children and tree.each is None):
        return
    if isinstance(value, dict) and (tree.children or not path):
        for name, item in value.items():
            branch = tree.children.get(name)
            if branch is None:
                found.append(written((*path, name)))
            else:
                _unlisted(item, branch, (*path, name), found)
    elif isinstance(value, list) and tree.each is not None:
        for index, item in enumerate(value):
            _unlisted(item, tree.each, (*path, str(index)), found)
    else:
        found.append(written(path))
