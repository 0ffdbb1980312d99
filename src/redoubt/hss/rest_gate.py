"""Who may use the REST API: whoever sends the token (RFC 6750 2.1). Nothing else is looked at before that."""

import asyncio
from collections import OrderedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from redoubt.events import Refused
from redoubt.hss.rest_types import Problem
from redoubt.limits import HSS_REST_FAILURES, HSS_REST_SOURCES
from redoubt.secret import Secret
from redoubt.sip.service import Context

WINDOW_S = 60.0
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="redoubt"'}


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, token: Secret, context: Context) -> None:
        self._app = app
        self._token = token
        self._context = context
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        if self._is_open(request):
            await self._app(scope, receive, send)
            return
        await self._refusal(request)(scope, receive, send)

    def _is_open(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # Compared whatever the scheme is, in constant time.
        return self._token.matches(token.strip().encode("utf-8", "replace")) and scheme.lower() == "bearer"

    def _refusal(self, request: Request) -> Response:
        """401, and 429 to whoever goes on; the right token is never turned away."""
        source = request.client.host if request.client else ""
        now = asyncio.get_running_loop().time()
        began, count = self._failures.pop(source, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        self._failures[source] = (began, count + 1)
        if len(self._failures) > HSS_REST_SOURCES:
            self._failures.popitem(last=False)
        if count >= HSS_REST_FAILURES:
            wait_s = int(began + WINDOW_S - now) + 1
            problem = Problem("Too Many Requests", 429, f"too many requests without the token; wait {wait_s} s")
            return refusal(problem, {"Retry-After": str(wait_s)})
        self._context.events.emit(
            Refused(
                at=self._context.clock.now(),
                node=self._context.node,
                status=401,
                why="no right token for the REST API",
                clause="RFC 6750 3",
                method=request.method,
                source=source,
            )
        )
        detail = "send `Authorization: Bearer TOKEN` with the token in the file that hss.rest-token-file names"
        return refusal(Problem("Unauthorized", 401, detail), CHALLENGE)


def refusal(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """A problem as a response (RFC 9457)."""
    body = msgspec.json.encode(problem)
    # What the client still sends is not read.
    return Response(
        body, problem.status, {"Connection": "close", **(headers or {})}, media_type="application/problem+json"
    )
