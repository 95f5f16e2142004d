"""A contract's folder, read: texts in, the typed contract with its places and cases out, or findings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from crossdock.contracts.files import Files
from crossdock.contracts.finding import Finding, Report
from crossdock.contracts.located import Located
from crossdock.contracts.parse import parse_contract
from crossdock.contracts.strict_yaml import read_yaml
from crossdock.model.contract import Contract, EventSchema

CONTRACT_FILE = "contract.yaml"


@dataclass(frozen=True, slots=True)
class Folder:
    """A contract's files: texts by path relative to the folder. `name` stands in findings before the path."""

    name: str
    texts: Mapping[str, str]

    def path(self, file: str) -> str:
        return f"{self.name}/{file}" if self.name else file


@dataclass(frozen=True, slots=True)
class Reading:
    """A contract, the nodes it came from (for the places of findings), its folder and the schemas it names."""

    contract: Contract
    root: Located
    folder: Folder
    schemas: tuple[EventSchema, ...]
    mappings: frozenset[str]


def read_folder(folder: Folder, shared: Mapping[tuple[str, int], EventSchema]) -> tuple[Reading | None, list[Finding]]:
    """The reading, or None and every finding of form (Y001, S001)."""
    report = Report(folder.path(CONTRACT_FILE))
    root = read_yaml(folder.texts.get(CONTRACT_FILE, ""), report)
    if root is None:
        return None, report.findings
    files = Files(folder.texts, shared)
    contract = parse_contract(root, files, report, report.file)
    if contract is None:
        return None, report.findings
    schemas = tuple(files.used.values())
    whole = replace(contract, digest=digest_of(folder, schemas))
    return Reading(whole, root, folder, schemas, frozenset(files.mapped)), []


def digest_of(folder: Folder, used: Iterable[EventSchema]) -> str:
    """SHA-256 (hex) over the folder's files and the shared schemas in use, each with name and length."""
    digest = hashlib.sha256()
    parts = dict(folder.texts)
    for schema in used:
        parts[f"@{schema.name}"] = json.dumps(schema.document, sort_keys=True, separators=(",", ":"))
    for name, text in sorted(parts.items()):
        for part in (name.encode(), text.encode()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()
