"""The page's other half: frames, tracks and corrections over HTTP, on this machine only."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterable
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
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rulerlab.errors import InputError, RulerlabError, UsageError
from rulerlab.palette import STATUS_RGB, hexadecimal
from rulerlab.records import STATUSES, Tracks
from rulerlab.review.bridge import bridge
from rulerlab.review.doubts import doubts
from rulerlab.review.guard import Guard
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


def application(subject: Subject, *, token: str, port: int) -> Starlette:
    """The page of one run, for who knows the token."""
    answers = _Answers(subject)
    return Starlette(
        routes=[
            Route("/", lambda _: _file("page.html", "text/html")),
            Route("/run", answers.run), Route("/tracks", answers.tracks),
            Route("/frames/{index:int}.jpg", answers.picture),
            *(Route(f"/{act.__name__}", answers.posted(act), methods=["POST"])
              for act in (answers.changes, answers.bridge, answers.undo, answers.save)),
            Route("/favicon.ico", lambda _: Response(status_code=204)), Route("/{name}", _part),
        ],
        middleware=[Middleware(Guard, token=token, port=port)],
        exception_handlers={RulerlabError: _fault},
    )


class _Answers:
    """What each address answers; one request at a time touches the tracks."""

    def __init__(self, subject: Subject):
        self._subject, self._lock = subject, Lock()

    def run(self, _: Request) -> Response:
        width, height = self._subject.size_px
        return JSONResponse({
            "title": self._subject.title, "width": width, "height": height, "statuses": STATUSES,
            "time_s": self._subject.time_s.tolist(),
            "colours": [hexadecimal(STATUS_RGB[name]) for name in STATUSES],
        })

    def tracks(self, _: Request) -> Response:
        with self._lock:
            return self._rows(range(len(self._subject.time_s)))

    def picture(self, request: Request) -> Response:
        jpeg = self._subject.pictures.jpeg(request.path_params["index"])
        return Response(jpeg, media_type="image/jpeg",
                        headers={"Cache-Control": "private, max-age=3600"})

    def posted(self, act: Callable[[dict[str, Any]], Response]) -> Callable:
        """An endpoint that hands the JSON of a request to `act`, in a thread, one at a time."""
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
            return await run_in_threadpool(alone, body if isinstance(body, dict) else {})

        def alone(body: dict[str, Any]) -> Response:
            with self._lock:
                return act(body)

        return answer

    def changes(self, body: dict[str, Any]) -> Response:
        try:
            changes = [change_of(cells) for cells in body["changes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is no change of a point: {error!r}") from None
        return self._rows(self._subject.mending.change(changes))

    def bridge(self, body: dict[str, Any]) -> Response:
        try:
            point, frame = int(body["point"]), int(body["frame"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this names no gap: {error!r}") from None
        now = self._subject.mending.tracks()
        if not (0 <= frame < len(now.time_s) and 0 <= point < now.points):
            raise UsageError(f"there is no point {point} in frame {frame}")
        return self._rows(self._subject.mending.change(bridge(now, point, frame)))

    def undo(self, _: dict[str, Any]) -> Response:
        return self._rows(self._subject.mending.undo())

    def save(self, _: dict[str, Any]) -> Response:
        now = self._subject.mending.tracks()
        summary = self._subject.save(now)
        self._subject.mending.saved(now)
        curve = summary.get("load_curve")
        return JSONResponse(self._told(now) | {
            "warnings": [*summary["warnings"], *summary["quality"]],
            "load_curve": None if curve is None else {
                name: np.asarray(curve[name]).tolist() for name in ("loads", "sigma")
            } | {name: curve[name] for name in ("unit", "quantity", "regime")},
        })

    def _rows(self, frames: Iterable[int]) -> Response:
        """Places, standard deviations and statuses of some frames; null where a point is lost."""
        frames, tracks = list(frames), self._subject.mending.tracks()
        sigma = np.sqrt((tracks.sigma_px()[frames] ** 2).mean(axis=-1))
        code = {name: number for number, name in enumerate(STATUSES)}
        return JSONResponse(self._told(tracks) | {
            "frames": frames,
            "position_px": _plain(tracks.position_px[frames], 3),
            "sigma_px": _plain(sigma, 4),
            "status": [[code[str(name)] for name in row] for row in tracks.status[frames]],
        })

    def _told(self, tracks: Tracks) -> dict[str, Any]:
        return {"steps": self._subject.mending.steps,
                "doubts": [vars(doubt) for doubt in doubts(tracks)]}


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


def _part(request: Request) -> Response:
    name = request.path_params["name"]
    return _file(name, FILES[name]) if name in FILES else PlainTextResponse("no such file", 404)


def _fault(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _plain(values: np.ndarray, digits: int) -> list:
    """Nested lists of rounded numbers, None for NaN."""
    rounded = np.round(values, digits).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()
