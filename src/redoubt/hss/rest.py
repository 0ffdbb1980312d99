"""The REST API for provisioning: resources under /v1, JSON, a bearer token (rest_gate.py), problems by RFC 9457.

    app = Gate(Api(context, realm, administration).app, token, context)

What is changed here reaches S-CSCF and phone at once, as with `redoubt subscriber` (RTR, PPR). Keys never come out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redoubt.hss.administration import Administration, NotProvisioned, Taken
from redoubt.hss.provisioning_fields import (
    Profile,
    SubscriberView,
    changed,
    json_of,
    patched,
    profile_of,
    refusal_of,
    subscriber_from,
    view,
)
from redoubt.hss.provisioning_files import CardFile, ImportRefused, Kind
from redoubt.hss.provisioning_import import import_file
from redoubt.hss.records import Provisioned, Subscription
from redoubt.hss.rest_gate import refusal
from redoubt.hss.rest_openapi import JSON, Operation, description
from redoubt.hss.rest_types import AddedAnswer, NewSubscribers, Outcome, Page, Problem, ProfileOutcome, Status
from redoubt.hss.store import StoreFailed
from redoubt.hss.subscriber import ProvisioningError
from redoubt.limits import HSS_REST_BODY_OCTETS, HSS_REST_IMPORT_OCTETS, HSS_REST_LISTED
from redoubt.sip.service import Context

MERGE_PATCH = "application/merge-patch+json"
FILES: dict[str, Kind] = {"text/csv": "csv", "application/jsonl": "jsonl", "application/x-ndjson": "jsonl"}
Limit = Annotated[int, Meta(ge=1, le=HSS_REST_LISTED)]
After = Annotated[str, Meta(pattern="^[0-9]{0,18}$")]
RETRY_S = "5"

ALL, ONE = "/v1/subscribers", "/v1/subscribers/{identity}"
OPERATIONS = (
    Operation("GET", "/v1/status", "status", "What this HSS process does.", Status),
    Operation("GET", "/v1/openapi.json", "openapi", "This description.", dict[str, Any]),
    Operation(
        "GET", ALL, "list_", "Subscribers, page by page.", Page, problems=(422, 503),
        query={"limit": (Limit, "how many; 100 if absent"), "after": (After, "`next` of the page before")},
    ),
    Operation(
        "POST", ALL, "add", "Add one subscriber, several, or a whole file: all or none.", AddedAnswer, 201,
        NewSubscribers,
        other_bodies=dict.fromkeys(FILES, "a file as `redoubt subscriber import` takes it"),
        problems=(400, 409, 413, 415, 422, 503),
    ),
    Operation("GET", ONE, "show", "One subscriber; never keys.", SubscriberView, problems=(404, 422, 503)),
    Operation(
        "PUT", ONE, "replace", "Replace the whole profile; private identities and keys stay.", ProfileOutcome, 200,
        Profile, problems=(400, 404, 409, 413, 415, 422, 503),
    ),
    Operation(
        "PATCH", ONE, "patch", "Change fields of the profile, such as `barred` (RFC 7396).", ProfileOutcome, 200,
        Profile, (MERGE_PATCH, JSON), problems=(400, 404, 409, 413, 415, 422, 503),
    ),
    Operation(
        "DELETE", ONE, "remove", "Remove a subscriber; its registrations end.", Outcome, problems=(404, 422, 503)
    ),
    Operation(
        "POST", f"{ONE}/deregister", "deregister", "End its registrations; it may register again.", Outcome,
        problems=(404, 422, 503),
    ),
    Operation(
        "POST", f"{ONE}/reassign", "reassign", "Free it from its S-CSCF; the next registration chooses one.", Outcome,
        problems=(404, 422, 503),
    ),
)  # fmt: skip


class Api:
    """Handlers by the names of the operations above; each answers a value of the operation's type."""

    def __init__(self, context: Context, realm: str, administration: Administration) -> None:
        self._context = context
        self._realm = realm
        self._administration = administration
        self._began = asyncio.get_running_loop().time()
        self._description = description(OPERATIONS)
        self.app = Starlette(
            routes=[self._route(path) for path in dict.fromkeys(one.path for one in OPERATIONS)],
            exception_handlers={
                ProvisioningError: _wrong_field,
                StoreFailed: _store_failed,
                HTTPException: _http_problem,
                Exception: self._bug,
            },
        )
        self.app.router.redirect_slashes = False

    def _route(self, path: str) -> Route:
        """One for all methods of a resource, so that 405 names them all (RFC 9110 15.5.6)."""
        operations = {one.method: one for one in OPERATIONS if one.path == path}

        async def endpoint(request: Request) -> Response:
            operation = operations["GET" if request.method == "HEAD" else request.method]
            handler: Callable[[Request], Awaitable[Any]] = getattr(self, operation.name)
            answer = await handler(request)
            if operation.method != "GET":
                source = request.client.host if request.client else "?"
                self._context.notice("info", f"REST API: {operation.method} {request.url.path} by {source}")
            return Response(msgspec.json.encode(answer), operation.status, media_type=JSON)

        return Route(path, endpoint, methods=list(operations))

    async def status(self, request: Request) -> Status:
        up_s = asyncio.get_running_loop().time() - self._began
        return Status(self._realm, round(up_s, 3), tuple(sorted(await self._administration.reachable())))

    async def openapi(self, request: Request) -> dict[str, Any]:
        return self._description

    async def list_(self, request: Request) -> Page:
        after, limit = (_number(request, "after", 0, 0, 10**18 - 1), _number(request, "limit", 100, 1, HSS_REST_LISTED))
        found = await self._administration.page(after, limit)
        more = str(found[-1].number) if len(found) == limit else ""
        return Page(tuple(view(one) for one in found), more)

    async def add(self, request: Request) -> AddedAnswer:
        kind = _media_type(request)
        if kind in FILES:
            octets = await _body(request, HSS_REST_IMPORT_OCTETS)
            return AddedAnswer(await import_file(self._administration, CardFile.holding("body", FILES[kind], octets)))
        given = await _decoded(request, NewSubscribers, JSON)
        new = given if isinstance(given, tuple) else (given,)
        return AddedAnswer(await self._administration.add(subscriber_from(one) for one in new))

    async def show(self, request: Request) -> SubscriberView:
        return view(await self._administration.show(request.path_params["identity"]))

    async def replace(self, request: Request) -> ProfileOutcome:
        profile: Profile = await _decoded(request, Profile, JSON)
        return await self._change(request, lambda before: changed(profile, before))

    async def patch(self, request: Request) -> ProfileOutcome:
        patch: dict[str, Any] = await _decoded(request, dict[str, Any], MERGE_PATCH, JSON)
        return await self._change(request, partial(patched, patch))

    async def remove(self, request: Request) -> Outcome:
        identity = request.path_params["identity"]
        return Outcome(identity, await self._administration.remove(identity))

    async def deregister(self, request: Request) -> Outcome:
        identity = request.path_params["identity"]
        return Outcome(identity, await self._administration.deregister(identity))

    async def reassign(self, request: Request) -> Outcome:
        identity = request.path_params["identity"]
        return Outcome(identity, await self._administration.reassign(identity))

    async def _change(self, request: Request, edit: Callable[[Subscription], Provisioned]) -> ProfileOutcome:
        identity = request.path_params["identity"]
        told = await self._administration.change(identity, edit)
        after = await self._administration.show(identity)
        return ProfileOutcome(identity, told, profile_of(after.provisioned, after.privates[0].impi))

    async def _bug(self, request: Request, error: Exception) -> Response:
        self._context.bug("")
        return refusal(Problem("Internal Server Error", 500, "a fault of this program, recorded with its trace"))


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request, most: int) -> bytes:
    """All of it, if it has no more octets than that."""
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > most:
            raise HTTPException(413, f"at most {most} octets")
    return bytes(octets)


async def _decoded(request: Request, kind: Any, *media_types: str) -> Any:
    if _media_type(request) not in media_types:
        raise HTTPException(415, f"Content-Type must be {' or '.join(media_types)}")
    body = await _body(request, HSS_REST_BODY_OCTETS)
    try:
        return json_of(body, kind)
    except msgspec.ValidationError as fault:
        raise refusal_of(str(fault)) from None
    except msgspec.DecodeError as fault:
        raise HTTPException(400, f"the body is no JSON: {fault}") from None


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or not least <= int(text) <= most:
        raise ProvisioningError(name, f"write a number from {least} to {most}")
    return int(text)


def _wrong_field(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, ProvisioningError)
    status, title = 422, "Unprocessable Content"
    if isinstance(fault, NotProvisioned):
        status, title = 404, "Not Found"
    elif isinstance(fault, Taken):
        status, title = 409, "Conflict"
    line, column = (fault.line, fault.column) if isinstance(fault, ImportRefused) else (0, 0)
    return refusal(Problem(title, status, fault.why, fault.field, line, column))


def _store_failed(request: Request, fault: Exception) -> Response:
    detail = "the store can't be read or written; nothing was changed. `redoubt status --events 20` says more"
    return refusal(Problem("Service Unavailable", 503, detail), {"Retry-After": RETRY_S})


def _http_problem(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return refusal(Problem("Refused", fault.status_code, fault.detail), dict(fault.headers or {}))
