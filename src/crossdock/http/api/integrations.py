"""The catalogue: which integrations there are, and what each contract lets move."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from crossdock.http.api.asked import VERSION_PATTERN, Asked, ContractPath, Shown, doing
from crossdock.model.contract import Contract, Route
from crossdock.stores.authority import Action, nothing_here

router = APIRouter(tags=["integrations"])


class IntegrationShown(Shown):
    id: str
    version: str
    status: str
    title: str
    summary: str
    direction: str
    purpose: str
    owner: str


class IntegrationPage(Shown):
    items: list[IntegrationShown]
    next: None = None


class RouteShown(Shown):
    name: str
    direction: str
    driver: str
    event: str
    fields: list[str] = Field(description="JSON pointers: nothing else of the event moves.")
    ordering: list[str]
    replay: bool


class SlotShown(Shown):
    name: str
    secret: bool
    optional: bool
    overlap_ms: int


class DestinationShown(Shown):
    name: str
    live: str
    sandbox: str
    operator: str
    store_url: str
    methods: list[str]
    paths: list[str]


class ContractShown(IntegrationShown):
    scopes: list[str]
    credentials: list[SlotShown]
    destinations: list[DestinationShown]
    config: dict[str, Any] = Field(description="JSON Schema 2020-12 of a connection's configuration.")
    routes: list[RouteShown]
    enable_needs: list[str]
    page: str
    digest: str


def shown(contract: Contract) -> IntegrationShown:
    return IntegrationShown(**_head(contract))


def _head(contract: Contract) -> dict[str, str]:
    return {
        "id": contract.id,
        "version": contract.version,
        "status": str(contract.status),
        "title": contract.title,
        "summary": contract.summary,
        "direction": str(contract.direction),
        "purpose": str(contract.purpose),
        "owner": str(contract.owner),
    }


def _route(route: Route) -> RouteShown:
    return RouteShown(
        name=route.name,
        direction=str(route.direction),
        driver=route.driver,
        event=route.event.name,
        fields=[rule.pointer for rule in route.fields],
        ordering=list(route.ordering),
        replay=not route.refuses_replay,
    )


def in_full(contract: Contract) -> ContractShown:
    return ContractShown(
        **_head(contract),
        scopes=list(contract.scopes),
        credentials=[
            SlotShown(name=slot.name, secret=slot.secret, optional=slot.optional, overlap_ms=slot.overlap_ms)
            for slot in contract.credentials
        ],
        destinations=[
            DestinationShown(
                name=one.name,
                live=one.live,
                sandbox=one.sandbox,
                operator=one.operator,
                store_url=one.store_url,
                methods=list(one.methods),
                paths=list(one.paths),
            )
            for one in contract.destinations
        ],
        config=contract.config,
        routes=[_route(route) for route in contract.routes],
        enable_needs=list(contract.lifecycle.enable_needs),
        page=contract.page,
        digest=contract.digest,
    )


@router.get("/integrations", **doing(Action.INTEGRATION_READ))
async def list_integrations(asked: Asked) -> IntegrationPage:
    """Every contract version of the catalogue."""
    return IntegrationPage(items=[shown(contract) for contract in asked.parts.catalogue.contracts()])


@router.get("/integrations/{integration}", **doing(Action.INTEGRATION_READ))
async def read_integration(
    asked: Asked,
    integration: ContractPath,
    version: Annotated[str | None, Query(pattern=VERSION_PATTERN, description="Without it, the newest.")] = None,
) -> ContractShown:
    """One contract: what it needs, what it moves, and where to."""
    found = asked.parts.catalogue.get(integration, version)
    if found is None:
        raise nothing_here()
    return in_full(found)
