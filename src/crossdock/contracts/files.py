"""The files that a contract names: event schemas, shared or its own, and mappings."""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.contracts.events import SCHEMA_FILE, event_schema
from crossdock.contracts.section import Section
from crossdock.model.contract import EventSchema
from crossdock.model.errors import Invalid

MAPPING_SUFFIX = ".jmespath"


class Files:
    """`own` are a contract's files by relative path, `shared` the catalogue's schemas by (type, major).

    `used` gathers the shared schemas and `mapped` the mapping files that the contract named."""

    def __init__(self, own: Mapping[str, str], shared: Mapping[tuple[str, int], EventSchema]) -> None:
        self.own = own
        self.shared = shared
        self.used: dict[str, EventSchema] = {}
        self.mapped: set[str] = set()

    def mapping(self, section: Section, key: str) -> str | None:
        """The JMESPath text under `key`: a name ending in .jmespath is a file beside the contract, else inline."""
        value = section.text(key, "")
        if not value:
            return None
        if not value.endswith(MAPPING_SUFFIX):
            return value.strip()
        self.mapped.add(value)
        if value not in self.own:
            section.wrong(section.node.at(key), f"There is no file {value} beside the contract.", "Add it.")
            return None
        return self.own[value].strip()

    def schema(self, section: Section, key: str) -> EventSchema | None:
        """The event schema under `key`: the contract's own file, else the catalogue's."""
        file = section.text(key, pattern=SCHEMA_FILE)
        named = SCHEMA_FILE.fullmatch(file)
        if named is None:
            return None
        found = self.shared.get((named.group(1), int(named.group(2))))
        if file in self.own:
            try:
                own = event_schema(file, self.own[file])
            except Invalid as error:
                section.wrong(section.node.at(key), f"{file} {error.where}: {error.message}", error.remedy)
                return None
            if found is not None and found.document != own.document:
                section.wrong(section.node.at(key), f"{file} differs from the catalogue's.", "Give it a new major.")
            found = found or own
        if found is None:
            section.wrong(section.node.at(key), f"There is no {file}.", "Add it beside the contract.")
            return None
        self.used[found.name] = found
        return found
