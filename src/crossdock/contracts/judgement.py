"""Every rule, over one contract's folder."""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.contracts import rules_data, rules_form, rules_reach
from crossdock.contracts.cases import Cases, read_cases
from crossdock.contracts.finding import Finding
from crossdock.contracts.judged import Judged, Rule
from crossdock.contracts.read import CONTRACT_FILE, Folder, Reading, read_folder
from crossdock.model.contract import EventSchema

RULES: tuple[Rule, ...] = (*rules_form.RULES, *rules_reach.RULES, *rules_data.RULES)


def lint_folder(folder: Folder, shared: Mapping[tuple[str, int], EventSchema]) -> list[Finding]:
    """Every finding of a contract's folder, in the order of place; empty for one that may be used."""
    reading, findings = read_folder(folder, shared)
    if reading is None:
        return sorted(findings)
    cases, case_findings = cases_of(reading)
    judged = Judged(reading, folder.path(CONTRACT_FILE), cases)
    return sorted([*case_findings, *(finding for rule in RULES for finding in rule(judged))])


def cases_of(reading: Reading) -> tuple[Cases | None, list[Finding]]:
    file = str(reading.root.at("tests").value) if reading.root.has("tests") else ""
    text = reading.folder.texts.get(file)
    return (None, []) if text is None else read_cases(text, reading.folder.path(file))
