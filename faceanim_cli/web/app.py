"""Routes of the web server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.files import parse_json
from faceanim_cli.motion.library import LIBRARY
from faceanim_cli.web.access import SESSION
from faceanim_cli.web.jobs import KINDS, Job, result_as
from faceanim_cli.web.live import LiveStage
from faceanim_cli.web.preview import look_at
from faceanim_cli.web.queue import JobQueue
from faceanim_cli.web.sentences import ANOTHER_VERSION, for_page
from faceanim_cli.web.uploads import DRIVER_MB, PHOTO_MB, TooLargeError, receive, received, shown_name

PAGE = Path(__file__).with_name("page")
LOOK_EVERY_S = 0.15  # for news of jobs
LONGEST_REQUEST = 20_000  # bytes of JSON
SAVED_AS = 60  # letters of each name in that of a download

GONE = "This animation is not here any more."

Endpoint = Callable[[Request], Awaitable[Response]]


class RefusedError(Exception):
    """What cannot be done, in a sentence that is the page's already."""

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


class Site:
    """The addresses of the page.

    Args:
        queue: of the jobs.
        stage: for who is live.
        root: a folder for files that are there for a moment.
        models: names of the weights that there are to choose from, the default first.
    """

    def __init__(self, queue: JobQueue, stage: LiveStage, root: Path, models: Sequence[str]) -> None:
        self._queue, self._stage, self._root, self._models = queue, stage, root, models
        self.closing = False

    def app(self) -> Starlette:
        """The ASGI application."""
        api: list[tuple[str, str, Endpoint]] = [
            ("GET", "/api/choices", self.choices),
            ("GET", "/api/events", self.events),
            ("POST", "/api/faces", self.faces),
            ("POST", "/api/jobs", self.create),
            ("PUT", "/api/jobs/{job}/photo", self.photo),
            ("PUT", "/api/jobs/{job}/driver", self.driver),
            ("POST", "/api/jobs/{job}/start", self.start),
            ("POST", "/api/jobs/{job}/cancel", self.cancel),
            ("DELETE", "/api/jobs/{job}", self.remove),
            ("POST", "/api/jobs/{job}/make/{kind}", self.make),
            ("GET", "/api/jobs/{job}/result.{kind}", self.result),
        ]
        routes = [Route(path, _telling(endpoint), methods=[method]) for method, path, endpoint in api]
        return Starlette(
            routes=[
                Route("/", lambda _: FileResponse(PAGE / "index.html", media_type="text/html")),
                Mount("/page", StaticFiles(directory=PAGE)),
                *routes,
                WebSocketRoute("/api/live", self._stage.visit),
            ]
        )

    async def choices(self, request: Request) -> Response:
        """What the page must know before anything else."""
        return JSONResponse(
            {
                "models": list(self._models),
                "motions": list(LIBRARY),
                "photo_mb": PHOTO_MB,
                "driver_mb": DRIVER_MB,
            }
        )

    async def faces(self, request: Request) -> Response:
        """Show a photo and the faces in it; it is not kept."""
        name = shown_name(request.query_params.get("name", ""), "photo")
        async with received(request, self._root, PHOTO_MB, name) as path:
            try:
                seen = await asyncio.to_thread(look_at, path)
            except FaceanimError as error:
                raise RefusedError(for_page(str(error), {str(path): name})) from error
        if seen["message"] is not None:
            seen["message"] = for_page(seen["message"], {str(path): name})
        return JSONResponse(seen)

    async def create(self, request: Request) -> Response:
        """Begin a job: its settings; its files come by themselves."""
        asked = await _json(request)
        motion, settings = asked.get("motion"), asked.get("settings")
        known = motion is None or (isinstance(motion, str) and motion in LIBRARY)
        if not isinstance(settings, dict) or not known:
            raise UsageError(ANOTHER_VERSION)
        photo = shown_name(str(asked.get("photo", "")), "photo")
        driver = motion or shown_name(str(asked.get("driver", "")), "video")
        job = self._queue.create(request.scope[SESSION], settings, (photo, driver), motion)
        return JSONResponse({"id": job.id})

    async def photo(self, request: Request) -> Response:
        """The photo of a job."""
        job = self._job(request)
        return await self._take(request, job, job.photo, PHOTO_MB, job.photo_name)

    async def driver(self, request: Request) -> Response:
        """The driver of a job."""
        job = self._job(request)
        return await self._take(request, job, job.driver, DRIVER_MB, job.driver_name)

    async def start(self, request: Request) -> Response:
        """Queue a job whose files are there and can be read."""
        job = self._job(request)
        if job.state != "uploading" or not job.photo.exists():
            raise UsageError("This animation has no photo, or was started already")
        try:
            await asyncio.to_thread(job.options.check_inputs, job.photo, job.driver)
        except FaceanimError as error:
            self._queue.remove(job)
            raise RefusedError(job.sentence(str(error))) from error
        self._queue.start(job)
        return JSONResponse({})

    async def cancel(self, request: Request) -> Response:
        """End a job."""
        self._queue.cancel(self._job(request))
        return JSONResponse({})

    async def remove(self, request: Request) -> Response:
        """Forget a job and its result."""
        self._queue.remove(self._job(request))
        return JSONResponse({})

    async def make(self, request: Request) -> Response:
        """Make the file that is about to be saved."""
        await self._made(request)
        return JSONResponse({})

    async def result(self, request: Request) -> Response:
        """The file that came of a job."""
        job, kind, path = await self._made(request)
        stems = (Path(name).stem[:SAVED_AS] for name in (job.photo_name, job.driver_name))
        how = "inline" if "show" in request.query_params else "attachment"
        return FileResponse(
            path, media_type=KINDS[kind], filename=f"{'-'.join(stems)}.{kind}", content_disposition_type=how
        )

    async def events(self, request: Request) -> Response:
        """News of this person's jobs, as server-sent events: each that has changed, and which there are."""
        return StreamingResponse(self._news(request.scope[SESSION]), media_type="text/event-stream")

    async def _news(self, session: str) -> AsyncIterator[str]:
        told: dict[str, int] = {}
        yield "retry: 1000\n\n"
        first, silent = True, 0.0
        while not self.closing:
            jobs = {job.id: job for job in self._queue.of(session)}
            changed = [job for job in jobs.values() if told.get(job.id) != job.version]
            if first or changed or told.keys() - jobs.keys():
                told = {job.id: job.version for job in jobs.values()}
                shown = [job.shown(self._queue.place(job)) for job in changed]
                yield f"data: {json.dumps({'ids': list(told), 'changed': shown})}\n\n"
                first, silent = False, 0.0
            elif silent > 10:
                yield ": still here\n\n"  # lets a connection that is gone be noticed
                silent = 0.0
            await asyncio.sleep(LOOK_EVERY_S)
            silent += LOOK_EVERY_S

    async def _take(self, request: Request, job: Job, path: Path, most_mb: int, name: str) -> Response:
        if job.state != "uploading" or path.parent != job.folder:
            raise UsageError("This animation takes no more files")
        try:
            await receive(request, path, most_mb, name)
        except (FaceanimError, OSError, ClientDisconnect):
            self._queue.remove(job)
            raise
        return JSONResponse({})

    async def _made(self, request: Request) -> tuple[Job, str, Path]:
        job, kind = self._job(request), request.path_params["kind"]
        if job.state != "done" or kind not in KINDS:
            raise RefusedError(GONE, 404)
        return job, kind, await asyncio.to_thread(result_as, job, kind)

    def _job(self, request: Request) -> Job:
        job = self._queue.get(request.path_params["job"], request.scope[SESSION])
        if job is None:
            raise RefusedError(GONE, 404)
        return job


async def _json(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_REQUEST:
            raise TooLargeError("That is too much at once")
    try:
        asked = parse_json(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise UsageError(ANOTHER_VERSION)
    return asked


def _telling(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with errors as JSON that the page shows."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as error:
            status, sentence = error.status, error.sentence
        except TooLargeError as error:
            status, sentence = 413, for_page(str(error), {})
        except FaceanimError as error:
            status, sentence = 422, for_page(str(error), {})
        except ClientDisconnect:
            status, sentence = 400, "The upload ended early."
        except OSError as error:
            status, sentence = 507, f"The computer that faceanim runs on says: {error.strerror}"
        return JSONResponse({"error": sentence}, status)

    return answer
