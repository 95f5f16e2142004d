"""The contracts at hand: those that ship with Crossdock, and the operator's own beside them.

One folder per integration: `contract.yaml`, `cases.yaml`, `page.md`, mappings (`*.jmespath`) and event schemas
(`schemas/<type>@<major>.json`). Further versions stand in sub-folders named by version. `schemas/` at the top holds
the event schemas that all share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from crossdock.contracts.events import event_schema
from crossdock.contracts.finding import refuse
from crossdock.contracts.judgement import lint_folder
from crossdock.contracts.read import CONTRACT_FILE, Folder, Reading, read_folder
from crossdock.model.contract import Contract, EventSchema
from crossdock.model.errors import Conflict, Invalid
from crossdock.model.limits import CONTRACT_BYTES_MAX

SUFFIXES = (".yaml", ".json", ".jmespath", ".md")
Schemas = Mapping[tuple[str, int], EventSchema]


class Catalogue:
    """Immutable. Contracts come in the order of id and version."""

    def __init__(self, readings: Iterable[Reading], schemas: Schemas) -> None:
        self.readings = tuple(sorted(readings, key=lambda one: (one.contract.id, version_key(one.contract.version))))
        self.schemas: Schemas = MappingProxyType(dict(schemas))
        self._by_ref = {one.contract.ref: one.contract for one in self.readings}
        self._newest: dict[str, Contract] = {one.contract.id: one.contract for one in self.readings}
        self._newest_schema = {type_: self.schemas[type_, major] for type_, major in sorted(self.schemas)}

    @classmethod
    def shipped(cls) -> Catalogue:
        """What is in the package. The rules have judged it before it was shipped."""
        return cls._from(resources.files("crossdock.catalogue"), {}, (), judge=False)

    @classmethod
    def read(cls, directory: Path) -> Catalogue:
        """The shipped contracts and those under `directory`, judged by every rule: Invalid (CD2010) with the findings.

        Conflict: CD2011 an id@version is there twice, CD2012 a schema is there in two forms."""
        shipped = cls.shipped()
        return cls._from(directory, shipped.schemas, shipped.readings, judge=True)

    @classmethod
    def _from(cls, root: Traversable, schemas: Schemas, readings: tuple[Reading, ...], *, judge: bool) -> Catalogue:
        known = shared_schemas(root, schemas)
        found = {one.contract.ref: one for one in readings}
        for folder in _contract_folders(root):
            reading, findings = read_folder(folder, known)
            findings = findings or (lint_folder(folder, known) if judge else [])
            if reading is None or findings:
                raise refuse(findings)
            if reading.contract.ref in found:
                raise Conflict(
                    "CD2011",
                    f"{reading.contract.ref} is there twice.",
                    where=folder.name,
                    remedy="Give one of them another version: an accepted version never changes.",
                )
            found[reading.contract.ref] = reading
            for schema in reading.schemas:
                _learn(known, schema)
        return cls(found.values(), known)

    def get(self, contract_id: str, version: str | None = None) -> Contract | None:
        """The contract at `version`, the newest without one."""
        return self._newest.get(contract_id) if version is None else self._by_ref.get(f"{contract_id}@{version}")

    def contracts(self) -> tuple[Contract, ...]:
        return tuple(one.contract for one in self.readings)

    def reading(self, contract: Contract) -> Reading | None:
        """The contract with its cases and page."""
        return next((one for one in self.readings if one.contract.ref == contract.ref), None)

    def schema(self, type_: str, major: int | None = None) -> EventSchema | None:
        """The event type at `major`, its newest major without one."""
        return self._newest_schema.get(type_) if major is None else self.schemas.get((type_, major))

    def live_hosts(self) -> frozenset[str]:
        """Every host that only production may call."""
        return frozenset(one.live for reading in self.readings for one in reading.contract.destinations if one.live)


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def shared_schemas(root: Traversable, known: Schemas) -> dict[tuple[str, int], EventSchema]:
    """`known` and the event schemas in `schemas/` under `root`; Conflict (CD2012) where one is there in two forms."""
    learnt = dict(known)
    shared = root / "schemas"
    for file in _sorted(shared) if shared.is_dir() else ():
        if file.name.endswith(".json"):
            _learn(learnt, event_schema(f"schemas/{file.name}", _text(file)))
    return learnt


def folder_of(directory: Traversable, name: str) -> Folder:
    """A contract's folder as texts by relative path. A file that is not UTF-8 or too large is refused (CD2010)."""
    texts: dict[str, str] = {}
    for file in _sorted(directory):
        if file.is_file() and file.name.endswith(SUFFIXES):
            texts[file.name] = _text(file)
    schemas = directory / "schemas"
    if schemas.is_dir():
        texts |= {f"schemas/{file.name}": _text(file) for file in _sorted(schemas) if file.name.endswith(".json")}
    return Folder(name, texts)


def _contract_folders(root: Traversable) -> list[Folder]:
    found = []
    for entry in _sorted(root):
        if not entry.is_dir() or entry.name in ("schemas", "__pycache__"):
            continue
        if (entry / CONTRACT_FILE).is_file():
            found.append(folder_of(entry, entry.name))
        for version in _sorted(entry):
            if version.is_dir() and (version / CONTRACT_FILE).is_file():
                found.append(folder_of(version, f"{entry.name}/{version.name}"))
    return found


def _learn(known: dict[tuple[str, int], EventSchema], schema: EventSchema) -> None:
    standing = known.setdefault((schema.type, schema.major), schema)
    if standing.document != schema.document:
        raise Conflict(
            "CD2012",
            f"Two different schemas call themselves {schema.name}.",
            remedy="Give one of them a new major: events in a journal are read by the first.",
        )


def _sorted(directory: Traversable) -> list[Traversable]:
    return sorted(directory.iterdir(), key=lambda one: one.name)


def _text(file: Traversable) -> str:
    raw = file.read_bytes()
    if len(raw) > CONTRACT_BYTES_MAX:
        raise Invalid("CD2013", f"The file is larger than {CONTRACT_BYTES_MAX} bytes.", where=file.name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("CD2013", "The file is not UTF-8.", where=file.name, remedy="Save it as UTF-8.") from error
