"""Access control of the web server: session cookies, and checks of Host and Origin.

A server on loopback is within reach of every page that a browser shows. A page of somebody else can send it
forms (so Origin is looked at), can give its own name this machine's address (DNS rebinding: so is Host), and
can try to show ours inside its own (so nobody may frame it). What others' pages cannot have is our cookie.
"""

import ipaddress
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
SESSION = "faceanim_session"  # in a request's scope


class Access:
    """Lets in requests of the page, each as part of a person's session.

    Args:
        app: what is behind.
        names: of this server that a browser may know it by, besides numbers and localhost.
        port: cookies are shared by all ports of a name, so it is in the cookie's name.
        token: must be in the page's address; None where only this machine can reach the server.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], port: int, token: str | None) -> None:
        self._app, self._token = app, token
        self._names = {"localhost", *(name.lower() for name in names)}
        self._cookie = f"faceanim-{port}"
        self._sessions: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        session = self._session(headers)
        fresh = None
        if not self._knows(host):
            refusal = "This server is not called so."
        elif not _same_origin(headers, host, scope):
            refusal = "Another page has sent this."
        elif session is None and scope["path"] == "/" and scope["type"] == "http" and self._admits(scope):
            session = fresh = secrets.token_urlsafe(32)
            self._sessions.add(session)
            refusal = ""
        elif session is None and not scope["path"].startswith("/page/"):
            refusal = "Open the address that faceanim web has printed, all of it."
            if self._token is None:
                refusal = "faceanim was started again: reload the page."
        else:
            refusal = ""
        scope[SESSION] = session

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own[name] = value
                if fresh is not None:
                    own.append("Set-Cookie", f"{self._cookie}={fresh}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        if not refusal:
            await self._app(scope, receive, send_safely)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == "/":
            await PlainTextResponse(refusal, 403)(scope, receive, send_safely)
        else:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_safely)

    def _session(self, headers: Headers) -> str | None:
        given = cookie_parser(headers.get("cookie", "")).get(self._cookie)
        return given if given in self._sessions else None

    def _knows(self, host: str) -> bool:
        """Whether a Host header may be ours. A number cannot be rebound by whoever owns a name."""
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self._names
        return True

    def _admits(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self._token is None or secrets.compare_digest(given.encode(), self._token.encode())


def _same_origin(headers: Headers, host: str, scope: Scope) -> bool:
    """Whether a request comes from our page, or from no page: then it is no browser's, or a person's."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["path"] != "/":
        return False
    origin = headers.get("origin")
    needed = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")
    if origin is None:
        return not needed
    return origin.split("://", 1)[-1] == host
