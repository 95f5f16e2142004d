"""The API's document with the two hot doors added, and a plain page of it: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from crossdock.http.api.asked import ACTION

METHODS = ("get", "post", "put", "patch", "delete")
CODE = re.compile(r"`([^`]+)`")
SUMMARY = (
    "Every answer has `x-correlation-id`; a caller may send its own. Errors are RFC 9457 problems with a `code` that "
    "`crossdock explain CODE` explains. Times are milliseconds since the Unix epoch. Lists have `items` and `next`."
)
PROBLEM = {
    "description": "An RFC 9457 problem.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "pattern": "^CD[0-9]{4}$"},
        "detail": {"type": "string"},
        "where": {"type": "string"},
        "remedy": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {"type": "object", "properties": {"pointer": {"type": "string"}, "rule": {"type": "string"}}},
        },
        "correlation_id": {"type": "string"},
    },
}
STORE_PARAMETER = {"name": "store", "in": "path", "required": True, "schema": {"type": "string"}}
CONNECTION_PARAMETER = {"name": "connection", "in": "path", "required": True, "schema": {"type": "string"}}
ROUTE_PARAMETER = {"name": "route", "in": "path", "required": True, "schema": {"type": "string"}}
EVENT = {
    "type": "object",
    "description": "CloudEvents 1.0, structured.",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "dataschema": {"type": "string"},
        "data": {"type": "object"},
    },
}


def _ingest(parameters: list[dict[str, Any]], summary: str, description: str, name: str) -> dict[str, Any]:
    return {
        "tags": ["ingest"],
        "summary": summary,
        "description": description,
        "operationId": name,
        "parameters": parameters,
        "responses": {"202": {"description": "Kept: it is on the disk."}, "default": PROBLEM},
    }


def hot_paths() -> dict[str, Any]:
    """The operations that the bare ingest app serves, as the document has them."""
    publish = _ingest(
        [STORE_PARAMETER],
        "Publish Events",
        "CloudEvents 1.0, structured, binary or batch. 202 after the commit; a repeat gets the first's answer.",
        "publish_events",
    )
    publish[ACTION] = "event.publish"
    publish["security"] = [{"token": []}]
    publish["requestBody"] = {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": EVENT},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": EVENT}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
    text = "A sender's door. The signature that the contract asks for is the authentication."
    door = _ingest([CONNECTION_PARAMETER], "Post To A Connection", text, "post_in")
    routed = _ingest([CONNECTION_PARAMETER, ROUTE_PARAMETER], "Post To A Route", text, "post_in_route")
    for one in (door, routed):
        one["security"] = []
        one["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    return {
        "/v1/stores/{store}/events": {"post": publish},
        "/in/{connection}": {"post": door},
        "/in/{connection}/{route}": {"post": routed},
    }


def document_of(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Crossdock", version=app.version, openapi_version="3.1.0", description=SUMMARY, routes=app.routes
    )
    for path, operations in hot_paths().items():
        document["paths"].setdefault(path, {}).update(operations)
    for operations in document["paths"].values():
        for method in METHODS:
            if method in operations:
                operations[method]["responses"].pop("422", None)
                operations[method]["responses"]["default"] = PROBLEM
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "cdt"}}
    document["security"] = [{"token": []}]
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h1{font-size:1.6rem}h2{margin-top:2.5rem;font-size:1.2rem;border-bottom:1px solid #ccc}
h3{font-size:1rem;margin:1.5rem 0 0}
code{font-family:ui-monospace,monospace;font-size:.92em}.m{display:inline-block;min-width:4.5rem;font-weight:700}
p{margin:.3rem 0}table{border-collapse:collapse;margin:.4rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
nav a{margin-right:1rem}small{color:#555}
@media (prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}a{color:#8ab4f8}small{color:#aaa}}
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_of(document: dict[str, Any]) -> str:
    """The reference as one HTML page."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                tag = operations[method].get("tags", ["other"])[0]
                groups.setdefault(tag, []).append(_operation(method, path, operations[method], document))
    links = "".join(f'<a href="#{html.escape(tag)}">{html.escape(tag)}</a>' for tag in sorted(groups))
    parts = [
        f'<h2 id="{html.escape(tag)}">{html.escape(tag)}</h2>{"".join(operations)}'
        for tag, operations in sorted(groups.items())
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Crossdock API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>Crossdock API {html.escape(document['info']['version'])}</h1>"
        f'<p>{prose(SUMMARY)}</p><p><a href="/openapi.json">openapi.json</a></p><nav>{links}</nav>'
        f"{''.join(parts)}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    rows = [
        (f"{one['name']} ({one['in']}{', required' if one.get('required') else ''})", one.get("description", ""))
        for one in operation.get("parameters", [])
    ]
    rows += [(f"{name} (body)", text) for name, text in _fields(operation, document)]
    table = "".join(f"<tr><td><code>{html.escape(name)}</code></td><td>{prose(text)}</td></tr>" for name, text in rows)
    codes = ", ".join(code for code in operation["responses"] if code != "default")
    return (
        f'<h3><span class="m">{method.upper()}</span><code>{html.escape(path)}</code></h3>'
        f"<p>{prose(operation.get('description', ''))}</p>"
        f"<p><small>answers {html.escape(codes)}; needs {html.escape(operation.get(ACTION, 'a signature'))}</small></p>"
        f"<table>{table}</table>"
    )


def _fields(operation: dict[str, Any], document: dict[str, Any]) -> list[tuple[str, str]]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    for choice in (schema, *schema.get("anyOf", [])):
        if "$ref" in choice:
            named = document["components"]["schemas"][choice["$ref"].rsplit("/", 1)[-1]]
            return [(name, one.get("description", "")) for name, one in named.get("properties", {}).items()]
    return []


def serve_reference(app: FastAPI) -> None:
    """/openapi.json and /docs, made once."""
    document = document_of(app)
    page = page_of(document)
    app.openapi_schema = document

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return document


def prose(text: str) -> str:
    """Text as HTML; what stands in backticks is code."""
    return CODE.sub(r"<code>\1</code>", html.escape(text))
