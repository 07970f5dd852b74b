"""What every HTTP request passes: a line in the log, a limit on its time, and one on its client's sessions."""

import logging
import time
from collections import defaultdict
from collections.abc import MutableMapping

import anyio
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 20.0  # for a whole request to arrive
IDLE_SECONDS = 1800.0  # until a session that nobody uses ends
_SESSION = b"mcp-session-id"

log = logging.getLogger(__name__)


class Logged:
    """Logs each request with its client, status and time: never its headers, its query or its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, _in_time(receive), watched)
        finally:
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "client": client_of(scope),
                "from": (scope.get("client") or ["?"])[0],
                "seconds": round(time.monotonic() - began, 3),
            }
            log.log(logging.WARNING if status >= 400 else logging.INFO, "request", extra={"fields": fields})


def client_of(scope: Scope) -> str:
    """The owner of the token with which a request came; empty without one."""
    return getattr(scope.get("user"), "display_name", "")


def _in_time(receive: Receive) -> Receive:
    """`receive`, where a body that does not arrive in time counts as a client that went away."""
    deadline, complete = anyio.current_time() + BODY_SECONDS, False

    async def received() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        with anyio.move_on_at(deadline):
            message = await receive()
            complete = not message.get("more_body", False)
            return message
        return {"type": "http.disconnect"}

    return received


class SessionLimit:
    """Refuses a client's further sessions (of the handshake era) while it holds `limit`; others go on opening theirs.

    Inside the SDK's authentication. It counts what the SDK opens and closes: a session ends when it is deleted, or
    IDLE_SECONDS after its last request.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit
        self._used: MutableMapping[str, dict[str, float]] = defaultdict(
            dict
        )  # by client, then session: last use

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        held, session = self._of(client_of(scope)), headers.get(_SESSION, b"").decode("latin-1")
        if not self._opens(scope, headers):
            await self._app(scope, receive, _noting(send, held, session, scope["method"]))
            if session in held:
                held[session] = time.monotonic()
        elif len(held) >= self._limit:
            refusal = {"error": f"{len(held)} sessions of this client are open; close one (DELETE) or wait"}
            await JSONResponse(refusal, 429)(scope, receive, send)
        else:
            place = f"opening {id(scope)}"  # taken at once, so that a burst does not pass the limit
            held[place] = time.monotonic()
            try:
                await self._app(scope, receive, _noting(send, held, session, scope["method"]))
            finally:
                held.pop(place, None)

    def _opens(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        modern = headers.get(b"mcp-protocol-version", b"") >= b"2026"
        return scope["method"] == "POST" and _SESSION not in headers and not modern

    def _of(self, client: str) -> dict[str, float]:
        oldest = time.monotonic() - IDLE_SECONDS
        held = self._used[client]
        for session in [session for session, last in held.items() if last < oldest]:
            del held[session]
        return held


def _noting(send: Send, held: dict[str, float], session: str, method: str) -> Send:
    """`send`, noting the session that an answer opens or that a DELETE ended."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] < 300:
            named = dict(message["headers"]).get(_SESSION, b"").decode("latin-1") or session
            if method == "DELETE":
                held.pop(named, None)
            elif named:
                held[named] = time.monotonic()
        await send(message)

    return noted
