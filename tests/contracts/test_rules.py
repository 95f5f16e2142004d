"""Each rule of the lint: a small change of a good contract that triggers it, and the shipped ones that trigger none."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from crossdock.contracts.catalogue import Catalogue, folder_of
from crossdock.contracts.judgement import lint_folder
from crossdock.contracts.lint import lint_path
from crossdock.contracts.read import CONTRACT_FILE, Folder
from crossdock.model.errors import Conflict, Invalid, NotFound

SHIPPED = Path(str(resources.files("crossdock.catalogue")))
SCHEMAS = Catalogue.shipped().schemas
ACME, GENERIC, HOOK, BATCH, MAIL = (
    "marketplace.acme", "orders.generic", "webhook.custom", "analytics.http-batch", "notify.email",
)  # fmt: skip

# rule, contract, what is replaced, by what
MUTATIONS: list[tuple[str, str, str, str]] = [
    ("Y001", ACME, "version: 2.1.0\n", "version: 2.1.0\nversion: 2.1.1\n"),
    ("Y001", ACME, "title: ACME Market product sync", "title: &name ACME"),
    ("Y001", ACME, "title: ACME Market product sync", "title: !!str ACME"),
    ("Y001", ACME, "tests: cases.yaml", "tests: cases.yaml\n---\na: b"),
    ("S001", ACME, "surface: backend", "surfcae: backend"),
    ("S001", ACME, "timeout: PT15S", "timeout: 15s"),
    ("S001", ACME, "auto_publish: {type: boolean, default: false", "auto_publish: {type: object, default: {}"),
    ("S001", ACME, "map: acme-item.jmespath", "map: acme-none.jmespath"),
    ("S001", ACME, "drop_own_origin: true", "drop_own_origin: yes"),
    ("S010", HOOK, "direction: outbound\npage", "direction: inbound\npage"),
    ("S011", HOOK, "lifecycle:\n", "coupling: {correlate: {ours: /sku, theirs: /id}, conflict: field_owner_wins,"
     " echo: {}, hops_max: 2, reconcile: report_only}\nlifecycle:\n"),
    ("S020", GENERIC, "    on_unknown_fields: reject",
     "    batch: {items_max: 2, body_max: 1KiB, wait_max: PT1S, per_item: true}"),
    ("S020", HOOK, "    webhook: {to: receiver, secret: signing_secret}\n    ordering_key: [store, /sku]",
     "    ordering_key: [store, /sku]"),
    ("C001", ACME, "minimum: 0, maximum: 1000, default: 2", "minimum: 0, maximum: 1000"),
    ("C002", ACME, "minimum: 0, maximum: 1000, default: 2", "minimum: 3, maximum: 1000, default: 2"),
    ("C003", ACME, "default: false, description: Without", "default: true, description: Without"),
    ("X001", ACME, "    auto_publish:", "    seller_password: {type: string, default: x}\n    auto_publish:"),
    ("X002", ACME, "    auto_publish:", "    callback_host: {type: string, default: x}\n    auto_publish:"),
    ("X002", HOOK, "purpose: webhook", "purpose: analytics"),
    ("X003", ACME, "{type: secret, rotate: P180D, overlap: P1D}", "{type: secret}"),
    ("X010", ACME, "live: api.acme-market.example", "live: '*.acme-market.example'"),
    ("X011", ACME, "live: api.acme-market.example", "live: 93.184.216.34"),
    ("X012", ACME, "live: api.acme-market.example", "live: api.acme.internal"),
    ("X013", ACME, "live: api.acme-market.example", "live: '{config.seller_id}.acme-market.example'"),
    ("X014", ACME, "check: {method: GET, to: api", "check: {method: GET, to: auth"),
    ("X015", ACME, "check: {method: GET", "check: {method: POST"),
    ("X016", ACME, 'path: "/v3/items/{sku}", map', 'path: "/v4/items/{sku}", map'),
    ("X017", ACME, "sandbox: api.sandbox.acme-market.example", "sandbox: api.acme-market.example"),
    ("X020", ACME, "ordering_key: [store, /sku]", "ordering_key: [/sku]"),
    ("X030", ACME, "        header: X-Acme-Signature\n", ""),
    ("X030", ACME, 'template: "{timestamp}.{raw}"', 'template: "{timestamp}"'),
    ("X031", ACME, "secret: webhook_secret\n", "secret: api_kye\n"),
    ("X032", ACME, "tolerance: PT5M", "tolerance: PT11M"),
    ("X040", ACME, "surface: backend", "surface: platform"),
    ("X041", HOOK, "owner: {class: store", "owner: {class: platform"),
    ("X050", ACME, '"orders:create"]\nauth', '"orders:create", "customers:read"]\nauth'),
    ("X050", ACME, '    scopes: ["orders:create"]', '    scopes: ["orders:read"]'),
    ("X050", ACME, "driver: http-json/1", "driver: http-json/9"),
    ("X060", ACME, "data.sellable == `true`", "data.sellable =="),
    ("X060", ACME, "data.sellable == `true`", "launch(data.sellable)"),
    ("X060", MAIL, "{config.shop_name}: your", "{config.shop}: your"),
    ("D001", ACME, "      /gtin: {class: public}", "      /gtinn: {class: public}"),
    ("D002", ACME, "      /stock: {class: internal}", "      /stock: {class: public}"),
    ("D002", BATCH, "/lines/*/sku: {class: public}\n      /lines/*/qty: {class: internal}",
     "/lines: {class: internal}"),
    ("D003", BATCH, "/customer/id: {class: pii, protect: hmac}", "/customer/id: {class: pii}"),
    ("D004", MAIL, "protect: plain, why: it is the address of the message", "protect: plain"),
    ("D005", BATCH, "parked: P7D, personal: P7D", "parked: P7D"),
    ("D006", BATCH, "parked: P7D, personal: P7D", "parked: P7D, personal: P91D"),
    ("D007", ACME, "      /gtin: {class: public}", "      /cost_price: {class: confidential}"),
    ("D008", ACME, "      /gtin: {class: public}", "      /price: {class: public}"),
    ("D009", BATCH, "ordering_key: none", "ordering_key: [store, /customer/id]"),
    ("R001", ACME, "{payload: P7D, attempts: P30D", "{payload: P2D, attempts: P30D"),
    ("R002", BATCH, "first: PT5S, max: PT6H", "first: PT7H, max: PT6H"),
    ("R003", BATCH, "retry: {first", "retry: {jitter: none, first"),
    ("R004", BATCH, "timeout: PT30S", "timeout: PT3M"),
    ("R005", MAIL, "expires_after: PT12H", "expires_after: PT11H"),
    ("R006", ACME, "ordering_key: [store, /sku]", "ordering_key: none"),
    ("R010", ACME, "window: P30D", "window: P2D"),
    ("R011", GENERIC, "body_max: 256KiB", "body_max: 2MiB"),
    ("R012", BATCH, "concurrency: 2, rate: {per: second, limit: 20, burst: 40}", "concurrency: 2"),
    ("R013", BATCH, "timeout: PT30S, concurrency: 2", "timeout: PT30S, concurrency: 65"),
    ("R040", ACME, "\nlifecycle:", "\naccount: {rate: {per: second, limit: 500}, by: shop}\nlifecycle:"),
    ("R040", ACME, "\nlifecycle:", "\naccount: {rate: {per: second, limit: 500}, by: safety_stock}\nlifecycle:"),
    ("R041", ACME, "\nlifecycle:", "\naccount: {rate: {per: minute, limit: 500}, by: seller_id}\nlifecycle:"),
    ("L001", ACME, "default: disabled", "default: enabled"),
    ("L001", ACME, "keep_versions: 3", "keep_versions: 0"),
    ("T001", ACME, "page: page.md", "page: pages.md"),
]  # fmt: skip


def folder(contract_id: str) -> Folder:
    return folder_of(SHIPPED / contract_id, contract_id)


def mutated(contract_id: str, old: str, new: str, file: str = CONTRACT_FILE) -> Folder:
    good = folder(contract_id)
    assert old in good.texts[file], f"{contract_id} no longer says {old!r}"
    return Folder(good.name, {**good.texts, file: good.texts[file].replace(old, new, 1)})


@pytest.mark.parametrize("contract_id", [one.id for one in Catalogue.shipped().contracts()])
def test_a_shipped_contract_breaks_no_rule(contract_id: str) -> None:
    assert lint_folder(folder(contract_id), SCHEMAS) == []


@pytest.mark.parametrize(
    ("code", "contract_id", "old", "new"), MUTATIONS, ids=[f"{one[0]}-{at}" for at, one in enumerate(MUTATIONS)]
)
def test_a_small_fault_triggers_its_rule_and_no_other(code: str, contract_id: str, old: str, new: str) -> None:
    findings = lint_folder(mutated(contract_id, old, new), SCHEMAS)
    assert {finding.code for finding in findings} == {code}, findings
    for finding in findings:
        assert finding.line >= 1
        assert finding.column >= 1
        assert finding.file == f"{contract_id}/contract.yaml"
        assert finding.message
        assert finding.remedy


def test_every_rule_has_a_page_and_a_test() -> None:
    pages = {file.name[:4] for file in resources.files("crossdock.explain").iterdir() if file.name[0] in "YSCXDRLT"}
    codes = {page for page in pages if page[1:].isdigit()}
    tested = {one[0] for one in MUTATIONS} | {"T002"}
    assert codes == tested


def test_a_finding_points_at_the_line_and_column() -> None:
    found = lint_folder(mutated(ACME, "surface: backend", "surfcae: backend"), SCHEMAS)
    lines = folder(ACME).texts[CONTRACT_FILE].splitlines()
    misspelt = next(one for one in found if "surfcae" in one.message)
    assert (misspelt.line, misspelt.column) == (lines.index("surface: backend") + 1, 1)
    assert misspelt.remedy == "Did you mean surface?"


def test_one_run_tells_every_fault_of_form() -> None:
    text = folder(ACME).texts[CONTRACT_FILE]
    wrong = text.replace("timeout: PT15S", "timeout: soon").replace("kind: Integration", "kind: Plugin")
    found = lint_folder(Folder(ACME, {**folder(ACME).texts, CONTRACT_FILE: wrong}), SCHEMAS)
    assert len(found) == 2


@pytest.mark.parametrize("case", ["timeout_after_send: true", "retry_after: 30"])
def test_a_contract_without_its_mandatory_cases_is_found(case: str) -> None:
    key = case.partition(":")[0]
    lacking = mutated(ACME, case, "status: 503" if key == "timeout_after_send" else "retry_after: 0", "cases.yaml")
    assert {one.code for one in lint_folder(lacking, SCHEMAS)} == {"T002"}


def test_linting_a_path_finds_every_contract_below_it(tmp_path: Path) -> None:
    for contract_id in (ACME, HOOK):
        (tmp_path / contract_id).mkdir()
        for name, text in folder(contract_id).texts.items():
            (tmp_path / contract_id / name).write_text(text)
    assert lint_path(tmp_path) == []
    file = tmp_path / HOOK / CONTRACT_FILE
    file.write_text(file.read_text().replace("status: accepted", "status: fine"))
    assert [one.code for one in lint_path(tmp_path)] == ["S001"]
    assert lint_path(tmp_path / ACME) == []
    with pytest.raises(NotFound):
        lint_path(tmp_path / "nowhere")


def test_an_operators_contract_joins_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "own.hook"
    own.mkdir()
    for name, text in folder(HOOK).texts.items():
        (own / name).write_text(text.replace("id: webhook.custom", "id: own.hook"))
    merged = Catalogue.read(tmp_path)
    assert merged.get("own.hook") is not None
    assert merged.get("webhook.custom") is not None
    (own / "2.0.0").mkdir()
    for name, text in folder(HOOK).texts.items():
        changed = text.replace("id: webhook.custom", "id: own.hook").replace("version: 1.0.0", "version: 2.0.0")
        (own / "2.0.0" / name).write_text(changed)
    both = Catalogue.read(tmp_path)
    newest, first = both.get("own.hook"), both.get("own.hook", "1.0.0")
    assert newest is not None
    assert first is not None
    assert (newest.version, first.version) == ("2.0.0", "1.0.0")
    assert newest.digest != first.digest


def test_an_operators_contract_cannot_replace_a_shipped_one_or_break_a_rule(tmp_path: Path) -> None:
    own = tmp_path / HOOK
    own.mkdir()
    for name, text in folder(HOOK).texts.items():
        (own / name).write_text(text)
    with pytest.raises(Conflict) as twice:
        Catalogue.read(tmp_path)
    assert twice.value.code == "CD2011"
    file = own / CONTRACT_FILE
    file.write_text(file.read_text().replace("id: webhook.custom", "id: own.hook").replace("limit: 50", "limit: 0"))
    with pytest.raises(Invalid) as unclean:
        Catalogue.read(tmp_path)
    assert unclean.value.code == "CD2010"
