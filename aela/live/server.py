"""The server of the live page: the page itself, remembered moments, and a socket for each tab."""

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from aela.live import messages
from aela.live.door import COOKIE, Door, listening
from aela.live.messages import BadMessage
from aela.live.outbox import Outbox
from aela.live.session import MOST_TABS, Session, Tab
from aela.memory import catalogue, store
from aela.memory.videos import UnknownVideo
from aela.mimicry import generation as generations
from aela.storage import Home

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
MOST_CONNECTIONS = 64
HTTP_S = 30.0  # a connection lasts no longer, unless it became a socket or is being answered,
ANSWER_S = 600.0  # which may take so long
SEND_S = 10.0  # a tab that takes longer to take a message is sent away
CLOSE_S = 1.0  # to send it the reason
STATE_S = 1.0
RATE = 200.0, 400.0  # messages a second from one tab, and at once
BYTE_RATE = 3e6, 9e6
BAD, TOO_SLOW, FULL = 1008, 1013, 1013  # codes that a socket is closed with
Closing = tuple[int, str]  # such a code, and why
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' "
    "blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Cache-Control": "no-store",
}
REPORT_HEADERS = {  # a file that carries all it shows and fetches nothing
    "Content-Security-Policy": "default-src 'none'; img-src data:; media-src data:; style-src "
    "'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
}
STRANGER = (
    "This page is for whoever started it: open the link that `aela live` printed, token included.\n"
)
OLD_LINK = "This page is of an earlier session: open the link that `aela live` printed last."

log = logging.getLogger(__name__)


class Guard:
    """Lets in who has the token and asks for this server by its name; sets headers for browsers."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, host = Headers(scope=scope), Headers(scope=scope).get("host", "")
        welcome = self.door.is_called(host)
        if scope["type"] == "websocket":
            welcome &= self.door.is_own(headers.get("origin", ""), host)
        token = HTTPConnection(scope).cookies.get(COOKIE)
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
        if welcome and self.door.token and scope.get("path") == "/" and shown is not None:
            if self.door.opens_to(shown):
                await self._entrance(shown)(scope, receive, send)
                return
            welcome = False
        if welcome and self.door.opens_to(token):
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            if welcome and token is not None:  # The page of an earlier session.
                await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": BAD, "reason": OLD_LINK})
        else:
            await PlainTextResponse(STRANGER, 403, HEADERS)(scope, receive, send)

    def _entrance(self, token: str) -> Response:
        """Keeps the token as a cookie, and out of the address."""
        secure = bool(self.door.address and self.door.address.startswith("https:"))
        response = RedirectResponse("/", 303, HEADERS)
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure)
        return response


def _with_headers(send: Send) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = list(message["headers"])
            there = {name for name, _ in own}
            added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": own + [item for item in added if item[0] not in there]}
        await send(message)

    return sent


def application(home: Home, session: Session, door: Door) -> ASGIApp:
    """The pages, files and sockets of a session."""
    files = {file.name: file for file in PAGE.iterdir() if file.suffix in KINDS}

    async def page(request: Request) -> Response:
        file = files.get(request.path_params.get("name", "index.html"))
        if file is None:
            return _nothing()
        return FileResponse(file, media_type=KINDS[file.suffix])

    async def moment(request: Request) -> Response:
        asked = request.path_params
        row = _number(asked["row"])
        return await run_in_threadpool(_moment, home, asked["sense"], asked["video"], row)

    async def open_moment(request: Request) -> Response:
        kept = session.memory.kept.get(_number(request.path_params["id"]))
        return _media(kept.sense, kept.media) if kept else _nothing()

    async def report(request: Request) -> Response:
        return await run_in_threadpool(_report, home)

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        async def tell() -> None:
            while True:
                await asyncio.sleep(STATE_S)
                session.tell_state()

        session.loop = asyncio.get_running_loop()
        telling = asyncio.create_task(tell())
        yield
        telling.cancel()

    routes = [
        Route("/", page),
        Route("/page/{name}", page),
        Route("/report", report),
        Route("/moments/open/{id}", open_moment),
        Route("/moments/{sense}/{video}/{row}", moment),
        WebSocketRoute("/live", lambda socket: _live(session, socket)),
    ]
    return Guard(Starlette(routes=routes, lifespan=life), door)


def _report(home: Home) -> Response:
    speaks = generations.current(home)
    written = speaks and home.report(speaks.sha)
    if not written or not written.exists():
        return PlainTextResponse("There is no report yet: `aela report` writes one.\n", 404)
    return Response(written.read_bytes(), media_type="text/html", headers=REPORT_HEADERS)


def _moment(home: Home, sense: str, video: str, row: int) -> Response:
    # A key is only part of a path once it is known to be one.
    if sense not in ("frame", "clip") or video not in catalogue.names(home.index):
        return _nothing()
    column = "jpeg" if sense == "frame" else "flac"
    try:
        return _media(sense, store.read_row(home, video, sense, row, [column])[column])
    except (IndexError, UnknownVideo):
        return _nothing()


def _number(text: str) -> int:
    """A row or an id; -1, which is none, for what is no number."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1


def _media(sense: str, data: bytes) -> Response:
    return Response(data, media_type="image/jpeg" if sense == "frame" else "audio/flac")


def _nothing() -> Response:
    return PlainTextResponse("There is nothing here.\n", 404)


class _Allowance:
    """What one tab may still send: so much a second, and so much at once."""

    def __init__(self, rate: float, most: float) -> None:
        self.rate, self.most = rate, most
        self.left, self.at_s = most, time.monotonic()

    def spend(self, amount: float) -> None:
        """
        Raises:
            BadMessage: it is used up.
        """
        now_s = time.monotonic()
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.rate) - amount
        self.at_s = now_s
        if self.left < 0:
            raise BadMessage("This page sends more than a page does.")


async def _live(session: Session, websocket: WebSocket) -> None:
    """One tab, from its coming to its going."""
    await websocket.accept()
    if len(session.tabs) >= MOST_TABS:
        await _close(websocket, FULL, f"{MOST_TABS} pages are open already; close one of them.")
        return
    tab = Tab()
    session.enter(tab)
    tasks = {
        asyncio.create_task(_receive(session, websocket, tab)),
        asyncio.create_task(_send(websocket, tab.outbox)),
    }
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        session.leave(tab)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in ended:
        if closing := task.result():
            await _close(websocket, *closing)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Send a tab away; one that does not read is not waited for."""
    short = reason.encode()[:120].decode(errors="ignore")  # There is room for 123 bytes.
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code, short)


async def _receive(session: Session, websocket: WebSocket, tab: Tab) -> Closing | None:
    """Take what a tab sends; why it is sent away, None if it goes by itself."""
    number, size = _Allowance(*RATE), _Allowance(*BYTE_RATE)
    try:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            data, text = message.get("bytes"), message.get("text")
            number.spend(1)
            size.spend(len(data or text or ""))
            if data is not None:
                session.take(tab, messages.of_bytes(data))
            else:
                session.take(tab, messages.of_text(text or ""))
    except BadMessage as error:
        return BAD, str(error)
    return None


async def _send(websocket: WebSocket, outbox: Outbox) -> Closing | None:
    """Send a tab what waits for it; why it is sent away, None if it is gone."""
    try:
        while (payload := await outbox.next()) is not None:
            async with asyncio.timeout(SEND_S):
                if isinstance(payload, str):
                    await websocket.send_text(payload)
                else:
                    await websocket.send_bytes(payload)
    except TimeoutError:
        pass
    except (RuntimeError, WebSocketDisconnect):
        return None
    return TOO_SLOW, "This page is too slow to follow; it comes again."


class _Socket(WebSocketsSansIOProtocol):
    """A socket that ends soon after its tab is sent away, though nobody reads what waits in it."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(SEND_S, self.transport.abort)


class _Impatient(H11Protocol):
    """HTTP for a limited time, so that nobody who never ends a request is waited for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self.opened_s = self.loop.time()
        self.loop.call_later(HTTP_S, self._end)

    def _end(self) -> None:
        if self not in self.connections:  # It became a socket, which is another protocol's.
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        answering |= self.transport.get_write_buffer_size() > 0
        if answering and self.loop.time() - self.opened_s < ANSWER_S:
            self.loop.call_later(HTTP_S, self._end)
        else:
            self.transport.abort()


class Server:
    """Serves a session in a thread of its own.

    Raises:
        OSError: nobody can listen there; the message says so in a sentence.
    """

    def __init__(self, home: Home, session: Session, door: Door) -> None:
        self.door = door
        self.listening = listening(door.host, door.port)
        config = uvicorn.Config(
            application(home, session, door),
            http=_Impatient,
            ws=_Socket,
            ws_max_size=messages.MOST_BYTES,
            ws_max_queue=8,
            ws_per_message_deflate=False,
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, args=[[self.listening]], name="server", daemon=True
        )

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Close all sockets, and end."""
        self.server.should_exit = True
        self.thread.join()
