"""Who is answered: the browser that holds the token, under the name of this machine only."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Guard:
    """Refuses names of other hosts, pages of other origins, and whoever has not the token.

    The token comes once, in the address that was printed, and stays in a cookie.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int):
        self._app, self._token, self._cookie = app, token, f"rulerlab_{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer = self._refusal(request)
        if answer is None and request.url.path == "/" and "token" in request.query_params:
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        given = request.cookies.get(self._cookie, "")
        if request.url.path == "/":
            given = request.query_params.get("token", given)
        if host not in self._hosts:
            return PlainTextResponse("this page is for this machine only", 403)
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return PlainTextResponse("asked by another page", 403)
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse("open the address that `rulerlab review` printed", 403)
        return None
