"""Whatever goes wrong in an operation leaves as one RFC 9457 problem, with pointers and rules, never with values."""

from __future__ import annotations

from typing import ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from crossdock.http.problems import answer_of
from crossdock.model.errors import BadRequest, Bug, CrossdockError, Invalid, Refused
from crossdock.observe.lines import Lines
from crossdock.stores.authority import nothing_here

POINTERS_MAX = 20


class MethodNotAllowed(Refused):
    status: ClassVar[int] = 405


def as_response(error: CrossdockError, request: Request) -> Response:
    answer = answer_of(error, str(getattr(request.state, "correlation", "")))
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.body, answer.status, headers)


def fitting(error: RequestValidationError) -> CrossdockError:
    """A malformed id in the path is an unknown one; everything else is named by pointer and rule."""
    found = error.errors()
    if any(one["loc"][0] == "path" for one in found):
        return nothing_here()
    pointers = [_pointer(one["loc"]) for one in found[:POINTERS_MAX]]
    return Invalid(
        "CD3030",
        f"The request does not fit at {', '.join(pointers)}.",
        remedy="The API's reference is at /docs.",
        facts={"pointers": pointers, "rules": [str(one["type"]) for one in found[:POINTERS_MAX]]},
    )


def _pointer(loc: tuple[int | str, ...]) -> str:
    if loc[0] == "query":
        return f"?{loc[1]}" if len(loc) > 1 else "?"
    # A name of the sender's own making is cut: it is not ours to repeat at length.
    return "/" + "/".join(str(part)[:64].replace("~", "~0").replace("/", "~1") for part in loc[1:])


def handle_faults(app: FastAPI, lines: Lines) -> None:
    async def on_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, CrossdockError)  # noqa: S101  the handler is registered for this class
        if isinstance(error, Bug):
            lines.write("engine.failed", engine="api", code=error.code, error=error.message)
        return as_response(error, request)

    async def on_misfit(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return as_response(fitting(error), request)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            answer = as_response(MethodNotAllowed("CD3033", "There is no such method here."), request)
            answer.headers["allow"] = allowed
            return answer
        if error.status_code == 404:
            return as_response(nothing_here(), request)
        return as_response(BadRequest("CD3031", "The request cannot be read."), request)

    async def on_anything(request: Request, error: Exception) -> Response:
        lines.write("engine.failed", engine="api", code="CD3040", error=type(error).__name__)
        return as_response(Bug("CD3040", "An operation failed."), request)

    app.add_exception_handler(CrossdockError, on_ours)
    app.add_exception_handler(RequestValidationError, on_misfit)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_anything)
