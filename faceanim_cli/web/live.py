"""Live animation over a WebSocket: camera frames in, pictures out, both as JPEG.

First comes what is to be moved: a text with settings and the photo's name, then the photo. From then on each
binary message is a frame, and each answer a picture after a byte that tells whether there was a face. The
page keeps two frames under way, so that none waits long: what is slow is told by fewer frames.
"""

import asyncio
import io
import logging
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image as PillowImage
from starlette.websockets import WebSocket, WebSocketDisconnect

from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.files import parse_json
from faceanim_cli.pictures import Image
from faceanim_cli.web.jobs import MakeOptions
from faceanim_cli.web.sentences import ANOTHER_VERSION, OUR_FAULT, for_page
from faceanim_cli.web.uploads import shown_name

PATIENCE_S = 3.0  # that somebody waits for who was live before
UNDER_WAY = 2  # frames
MOST_PIXELS = 1920 * 1080  # of a frame
QUALITY = 85  # of pictures, as JPEG
LIVE = {"sr": False}  # what the settings of the page are changed to: no super-resolution, for speed

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.live.live_photo import LiveFrame, LivePhoto

logger = logging.getLogger(__name__)


class LiveStage:
    """Where one person at a time has a photo move live.

    Args:
        root: a folder for the photo.
        make_options: makes of what the page sends the options of an animation.
    """

    def __init__(self, root: Path, make_options: MakeOptions) -> None:
        self._root, self._make_options = root, make_options
        self._taken = asyncio.Lock()

    async def visit(self, socket: WebSocket) -> None:
        """A person's whole visit."""
        await socket.accept()
        try:
            await asyncio.wait_for(self._taken.acquire(), PATIENCE_S)
        except asyncio.TimeoutError:  # before Python 3.11 another one than TimeoutError
            await socket.send_json({"error": "Somebody else is live just now. Try again in a while."})
            await socket.close()
            return
        try:
            await self._perform(socket)
        except (WebSocketDisconnect, RuntimeError):  # the second: starlette's, of an answer to who has gone
            pass
        finally:
            self._taken.release()

    async def _perform(self, socket: WebSocket) -> None:
        try:
            asked, content = parse_json(await socket.receive_text()), await socket.receive_bytes()
            name = shown_name(str(asked["name"]), "photo")
        except (ValueError, KeyError, TypeError):
            await socket.send_json({"error": ANOTHER_VERSION})
            await socket.close()
            return
        answers: asyncio.Queue[bytes | dict[str, Any] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def answer(what: bytes | dict[str, Any] | None) -> None:
            loop.call_soon_threadsafe(answers.put_nowait, what)

        with tempfile.NamedTemporaryFile(dir=self._root, delete=False) as file:
            file.write(content)
        performance = _Performance(self._make_options, asked.get("settings"), Path(file.name), name, answer)
        work = asyncio.create_task(asyncio.to_thread(performance.work))
        listening = asyncio.create_task(_listen(socket, performance))
        try:
            while (what := await answers.get()) is not None:
                await (socket.send_json(what) if isinstance(what, dict) else socket.send_bytes(what))
            await socket.close()
        finally:
            performance.end()
            listening.cancel()
            await asyncio.gather(work, listening, return_exceptions=True)


async def _listen(socket: WebSocket, performance: "_Performance") -> None:
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes"):
                performance.take(message["bytes"])
            elif message.get("text") == "recentre":
                performance.recentre()
    finally:
        performance.end()


class _Performance:
    """The work for one visit, in a thread of its own.

    Args:
        make_options: see ``LiveStage``.
        settings: what the page sent.
        photo: its path; it is deleted as soon as it is read.
        name: what the person calls it.
        answer: takes pictures and words for the page, and None at the end.
    """

    def __init__(
        self,
        make_options: MakeOptions,
        settings: Any,
        photo: Path,
        name: str,
        answer: Callable[[bytes | dict[str, Any] | None], None],
    ) -> None:
        self._make_options, self._settings = make_options, settings
        self._photo, self._name, self._answer = photo, name, answer
        self._frames: queue.Queue[bytes | None] = queue.Queue(UNDER_WAY + 1)
        self._live: LivePhoto | None = None

    def take(self, frame: bytes) -> None:
        """A frame of the camera, as JPEG; more than are allowed under way are left out."""
        if self._frames.qsize() < UNDER_WAY:
            self._frames.put_nowait(frame)

    def recentre(self) -> None:
        """Count motion from now on."""
        if self._live is not None:
            self._live.recentre()

    def end(self) -> None:
        """No more frames come."""
        if self._frames.qsize() <= UNDER_WAY:
            self._frames.put_nowait(None)

    def work(self) -> None:
        """Until the last frame; what goes wrong is told."""
        try:
            self._show()
        except FaceanimError as error:
            self._answer({"error": for_page(str(error), {str(self._photo): self._name})})
        except Exception as error:
            logger.error("%s: %s", type(error).__name__, error, exc_info=error)
            self._answer({"error": OUR_FAULT})
        finally:
            self._photo.unlink(missing_ok=True)
        self._answer(None)

    def _show(self) -> None:
        if not isinstance(self._settings, dict):
            raise UsageError(ANOTHER_VERSION)
        options = self._make_options({**self._settings, **LIVE})
        self._live = options.live_photo(self._photo)
        self._photo.unlink()
        self._answer({"ready": True})
        for shown in self._live.pictures(self._decoded()):
            bgr = cv2.cvtColor(shown.picture, cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            self._answer((b"\0" if shown.held else b"\1") + jpeg.tobytes())

    def _decoded(self) -> "Iterator[LiveFrame]":
        from faceanim_cli.live.live_photo import LiveFrame  # noqa: PLC0415

        number = 0
        while (frame := self._frames.get()) is not None:
            yield LiveFrame(decoded(frame), number, time.monotonic())
            number += 1


def decoded(frame: bytes) -> Image:
    """A camera's frame, uint8 RGB (H, W, 3).

    Raises:
        UnreadableInputError: no JPEG, or a large one.
    """
    try:
        with PillowImage.open(io.BytesIO(frame), formats=("JPEG",)) as image:
            if image.width * image.height <= MOST_PIXELS:
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableInputError("The camera's picture cannot be read") from error
    raise UnreadableInputError("The camera's pictures are too large")
