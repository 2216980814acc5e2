"""The page's other half: frames, tracks and corrections over HTTP, on this machine only.

Only a browser that was given the token of this session is answered; names of other hosts, pages
of other origins and bodies that are not JSON are refused.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rulerlab.errors import InputError, RulerlabError, UsageError
from rulerlab.palette import STATUS_RGB, hexadecimal
from rulerlab.records import STATUSES, Tracks
from rulerlab.review.bridge import bridge
from rulerlab.review.doubts import doubts
from rulerlab.review.mending import Mending, change_of
from rulerlab.review.pictures import Pictures

HERE = Path(__file__).parent
FILES = {"page.js": "text/javascript", "page.css": "text/css"}
LARGEST_BODY = 4_000_000
POLICY = "default-src 'none'; " + "; ".join(
    f"{kind}-src 'self'" for kind in ("img", "script", "style", "connect"))


@dataclass(frozen=True)
class Subject:
    """The run that is looked through."""

    title: str
    size_px: tuple[int, int]  # width, height
    time_s: np.ndarray  # (T,)
    pictures: Pictures
    mending: Mending
    save: Callable[[Tracks], dict[str, Any]]  # writes mended tracks, tells what came out


class Guard:
    """Lets in the browser that holds the token, and only under the name of this machine."""

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
        if not secrets.compare_digest(given, self._token):
            return PlainTextResponse("open the address that `rulerlab review` printed", 403)
        return None


def application(subject: Subject, *, token: str, port: int) -> Starlette:
    """The page of one run, for who knows the token."""
    mending = subject.mending
    lock = Lock()

    def page(_: Request) -> Response:
        return _file("page.html", "text/html")

    def part(request: Request) -> Response:
        name = request.path_params["name"]
        return _file(name, FILES[name]) if name in FILES else PlainTextResponse("no such file", 404)

    def run(_: Request) -> Response:
        width, height = subject.size_px
        return JSONResponse({
            "title": subject.title, "width": width, "height": height, "statuses": STATUSES,
            "time_s": subject.time_s.tolist(),
            "colours": [hexadecimal(STATUS_RGB[name]) for name in STATUSES],
        })

    def rows(_: Request) -> Response:
        with lock:
            now = mending.tracks()
            return JSONResponse(_rows(now, range(len(now.time_s))) | _told(now, mending))

    def picture(request: Request) -> Response:
        jpeg = subject.pictures.jpeg(request.path_params["index"])
        return Response(jpeg, media_type="image/jpeg",
                        headers={"Cache-Control": "private, max-age=3600"})

    def touched(frames: list[int]) -> Response:
        now = mending.tracks()
        return JSONResponse(_rows(now, frames) | _told(now, mending))

    def change(body: dict[str, Any]) -> Response:
        try:
            changes = [change_of(cells) for cells in body["changes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is no change of a point: {error!r}") from None
        return touched(mending.change(changes))

    def fill(body: dict[str, Any]) -> Response:
        try:
            point, frame = int(body["point"]), int(body["frame"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this names no gap: {error!r}") from None
        now = mending.tracks()
        if not (0 <= frame < len(now.time_s) and 0 <= point < now.points):
            raise UsageError(f"there is no point {point} in frame {frame}")
        return touched(mending.change(bridge(now, point, frame)))

    def undo(_: dict[str, Any]) -> Response:
        return touched(mending.undo())

    def keep(_: dict[str, Any]) -> Response:
        now = mending.tracks()
        summary = subject.save(now)
        mending.saved(now)
        curve = summary.get("load_curve")
        return JSONResponse({
            "warnings": [*summary["warnings"], *summary["quality"]],
            "load_curve": None if curve is None else {
                name: np.asarray(curve[name]).tolist() for name in ("loads", "sigma")
            } | {name: curve[name] for name in ("unit", "quantity", "regime")},
        } | _told(now, mending))

    def posted(act: Callable[[dict[str, Any]], Response]) -> Callable:
        async def answer(request: Request) -> Response:
            kind = request.headers.get("content-type", "").split(";")[0].strip()
            if kind != "application/json":
                return PlainTextResponse("expected application/json", 415)
            if int(request.headers.get("content-length") or 0) > LARGEST_BODY:
                return PlainTextResponse("too long", 413)
            try:
                body = json.loads(await request.body())
            except ValueError:
                return JSONResponse({"error": "this is no JSON"}, 400)
            return await run_in_threadpool(locked, act, body if isinstance(body, dict) else {})
        return answer

    def locked(act: Callable[[dict[str, Any]], Response], body: dict[str, Any]) -> Response:
        with lock:
            return act(body)

    return Starlette(
        routes=[
            Route("/", page), Route("/run", run), Route("/tracks", rows),
            Route("/frames/{index:int}.jpg", picture),
            *(Route(f"/{name}", posted(act), methods=["POST"]) for name, act in (
                ("changes", change), ("bridge", fill), ("undo", undo), ("save", keep))),
            Route("/favicon.ico", lambda _: Response(status_code=204)), Route("/{name}", part),
        ],
        middleware=[Middleware(Guard, token=token, port=port)],
        exception_handlers={RulerlabError: _fault},
    )


def serve(subject: Subject, *, port: int, say: Callable[[str], None]) -> None:
    """Answer on 127.0.0.1 until Ctrl-C.

    `say` is told the address once it can be opened; port 0 takes any that is free. Raises
    InputError when the port is taken.
    """
    token = secrets.token_urlsafe(32)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"port {port} can't be used ({error.strerror}): leave --port out, and "
                             "a free one is taken") from None
        door.listen()
        port = door.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(
            application(subject, token=token, port=port), log_level="error",
            timeout_graceful_shutdown=2))
        say(f"http://127.0.0.1:{port}/?token={token}")
        server.run(sockets=[door])


def _file(name: str, kind: str) -> Response:
    return Response((HERE / name).read_bytes(), media_type=kind, headers={
        "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store"})


def _fault(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _rows(tracks: Tracks, frames: Any) -> dict[str, Any]:
    """Places, standard deviations and statuses of some frames; null where a point is lost."""
    frames = list(frames)
    sigma = np.sqrt((tracks.sigma_px()[frames] ** 2).mean(axis=-1))
    code = {name: number for number, name in enumerate(STATUSES)}
    return {
        "frames": frames,
        "position_px": _plain(tracks.position_px[frames], 3),
        "sigma_px": _plain(sigma, 4),
        "status": [[code[str(name)] for name in row] for row in tracks.status[frames]],
    }


def _plain(values: np.ndarray, digits: int) -> list:
    """Nested lists of rounded numbers, None for NaN."""
    rounded = np.round(values, digits).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


def _told(tracks: Tracks, mending: Mending) -> dict[str, Any]:
    return {"steps": mending.steps, "doubts": [vars(doubt) for doubt in doubts(tracks)]}
