"""Judging contracts on disk."""

from __future__ import annotations

from pathlib import Path

from crossdock.contracts.catalogue import Catalogue, folder_of, shared_schemas
from crossdock.contracts.finding import Finding
from crossdock.contracts.judgement import lint_folder
from crossdock.contracts.read import CONTRACT_FILE
from crossdock.model.errors import NotFound


def lint_path(path: Path) -> list[Finding]:
    """Findings of the contract at `path` (its file or folder), or of every contract below a folder. The shipped event
    schemas can be named. NotFound (CD2014) where there is no contract."""
    top = path.parent if path.is_file() else path
    folders = sorted(file.parent for file in top.rglob(CONTRACT_FILE)) if top.is_dir() else []
    if not folders or (path.is_file() and path.name != CONTRACT_FILE):
        raise NotFound(
            "CD2014", f"There is no {CONTRACT_FILE} here.", where=str(path), remedy="Name its folder or the file."
        )
    if path.is_file():
        folders = [top]
    schemas = shared_schemas(top, Catalogue.shipped().schemas)
    return sorted(finding for one in folders for finding in lint_folder(folder_of(one, str(one)), schemas))


def lint_shipped() -> list[Finding]:
    """Findings of the contracts that are in the package: none, or the package is not as it was released."""
    shipped = Catalogue.shipped()
    return sorted(finding for one in shipped.readings for finding in lint_folder(one.folder, shipped.schemas))
