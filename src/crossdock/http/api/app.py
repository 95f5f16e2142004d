"""The management API: FastAPI behind one gate."""

from __future__ import annotations

from fastapi import FastAPI

from crossdock.http.api import (
    audit,
    connections,
    credentials,
    doctor,
    events,
    inbox,
    integrations,
    lanes,
    replay,
    stores,
    tokens,
)
from crossdock.http.api.faults import handle_faults
from crossdock.http.api.gate import Gate
from crossdock.http.api.parts import Parts
from crossdock.http.api.reference import serve_reference
from crossdock.observe.lines import Lines

NOUNS = (stores, integrations, connections, credentials, lanes, replay, events, inbox, tokens, audit, doctor)


def build_api(parts: Parts, lines: Lines) -> FastAPI:
    """An ASGI app of every operation under /v1, with /openapi.json and /docs."""
    app = FastAPI(title="Crossdock", version=parts.version, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.parts = parts
    for noun in NOUNS:
        app.include_router(noun.router, prefix="/v1")
    handle_faults(app, lines)
    serve_reference(app)
    app.add_middleware(Gate, parts=parts)
    return app
