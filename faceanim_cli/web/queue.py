"""The web page's job queue, with one worker that keeps its networks loaded."""

import contextlib
import logging
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanim_cli.batch.worker import WorkerLostError, animate_item
from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.web.jobs import CancelledError, Job, MakeOptions, PageOptions
from faceanim_cli.web.sentences import OUR_FAULT

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.animation.animator import Animator

MOST_WAITING = 5  # jobs of one person that wait or are being uploaded
LONGEST_UPLOAD_S = 3600
MOST_KEPT = 20  # jobs of one person that are remembered, with their results

logger = logging.getLogger(__name__)


class JobQueue:
    """Jobs in the order in which they were started. Thread-safe.

    Args:
        root: a folder, in which each job gets its own.
        make_options: makes of what the page sends the options of an animation.
    """

    def __init__(self, root: Path, make_options: MakeOptions) -> None:
        self._root, self._make_options = root, make_options
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._working: Job | None = None
        self._closed = False
        self._kept: tuple[PageOptions, Animator] | None = None
        self._thread = threading.Thread(target=self._work, name="faceanim-worker", daemon=True)
        self._thread.start()

    def create(
        self, session: str, settings: Mapping[str, Any], names: tuple[str, str], motion: str | None = None
    ) -> Job:
        """A job whose files are still to come.

        Args:
            session: whose it is.
            settings: as ``make_options`` takes them.
            names: of photo and driver, as people know them.
            motion: one of the library, instead of a driver's file.

        Raises:
            UsageError: the settings cannot be, or this person has too many jobs already.
        """
        options = self._make_options(settings)
        with self._changed:
            own = [job for job in self._jobs.values() if job.session == session]
            if sum(not job.ended for job in own) >= MOST_WAITING:
                raise UsageError(
                    f"{MOST_WAITING} of your animations are waiting already; wait for one of them"
                )
            for job in [job for job in own if job.ended][: max(0, len(own) - MOST_KEPT + 1)]:
                self._forget(job)
            folder = Path(tempfile.mkdtemp(dir=self._root))
            suffix = re.search(r"\.[a-z0-9]{1,8}$", names[1].lower())
            driver = Path(motion) if motion else folder / f"driver{suffix[0] if suffix else ''}"
            job = Job(folder, session, options, settings, *names, driver)
            self._jobs[job.id] = job
        return job

    def get(self, job_id: str, session: str) -> Job | None:
        """A job of this person."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.session == session else None

    def of(self, session: str) -> list[Job]:
        """This person's jobs, oldest first."""
        return [job for job in list(self._jobs.values()) if job.session == session]

    def place(self, job: Job) -> int | None:
        """How many jobs are done before this one is, itself counted; None if it does not wait."""
        with self._changed:
            if job not in self._waiting:
                return None
            return self._waiting.index(job) + 1 + (self._working is not None)

    def start(self, job: Job) -> None:
        """Queue a job whose files are there.

        Raises:
            UsageError: it was queued before, or cancelled meanwhile.
        """
        with self._changed:
            if job.state != "uploading":
                raise UsageError("This animation was started already, or is cancelled")
            job.change(state="waiting")
            self._waiting.append(job)
            self._moved()

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, at the next frame if it is being worked on."""
        with self._changed:
            if job.ended:
                return
            job.change(state="cancelled")
            if job in self._waiting:
                self._waiting.remove(job)
                self._moved()
        if job is not self._working:
            job.delete_inputs()

    def remove(self, job: Job) -> None:
        """Cancel a job and forget its result."""
        self.cancel(job)
        with self._changed:
            self._forget(job)

    def close(self) -> None:
        """End all jobs and the worker; waits for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for job in list(self._jobs.values()):
            self.cancel(job)
        self._thread.join()

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        job.change()
        if job is not self._working:  # else its worker deletes it
            job.delete()

    def _drop_unfinished(self) -> None:
        """Forget jobs whose page was closed before all was sent."""
        for job in list(self._jobs.values()):
            if job.state == "uploading" and time.time() - job.created > LONGEST_UPLOAD_S:
                self._forget(job)

    def _moved(self) -> None:
        """The places of those who wait are others now."""
        for job in self._waiting:
            job.change()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._changed.wait_for(lambda: self._waiting or self._closed, LONGEST_UPLOAD_S / 4):
                    self._drop_unfinished()
                if self._closed:
                    return
                job = self._working = self._waiting.pop(0)
                job.change(state="working")
                self._moved()
            try:
                self._animate(job)
            finally:
                job.delete_inputs()
                with self._changed:
                    self._working = None
                    if job.id not in self._jobs:
                        job.delete()
                    self._moved()

    def _animate(self, job: Job) -> None:
        from faceanim_cli.animation.result import provenance_tags  # noqa: PLC0415

        try:
            with _warnings_of(job):
                animator = self._animator(job.options)
                report = animate_item(job.options, animator, job.item, job.progress, looking=job.check)
        except CancelledError:
            return
        except FaceanimError as error:  # weights, or steering that they do not allow
            outcome: dict[str, Any] = {"state": "failed", "message": job.sentence(str(error))}
        except WorkerLostError as error:
            logger.error("%s; start faceanim web again", error)
            outcome = {"state": "failed", "message": OUR_FAULT}
        except Exception as error:
            logger.error("%s: %s", type(error).__name__, error, exc_info=error)
            outcome = {"state": "failed", "message": OUR_FAULT}
        else:
            if report.status == "done":
                outcome = {
                    "state": "done",
                    "frames": report.frames,
                    "fps": report.fps,
                    "tags": provenance_tags(animator.weights, animator.weights_sha256),
                }
            else:
                message = job.sentence(report.error or "")
                if message == OUR_FAULT:
                    logger.error("%s", report.error)
                outcome = {"state": "failed", "message": message}
        with self._changed:
            if job.state != "cancelled":
                job.change(**outcome)

    def _animator(self, options: PageOptions) -> "Animator":
        """The networks: those of the last job, if its options were the same."""
        if self._kept is None or self._kept[0] != options:
            self._kept = None  # not both in memory
            self._kept = options, options.animator()
        return self._kept[1]


@contextlib.contextmanager
def _warnings_of(job: Job) -> Iterator[None]:
    """Note for the page what is warned of meanwhile."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if str(job.folder) in text and len(job.notes) < 10:
                job.change(notes=[*job.notes, job.sentence(text)])

    handler, ours = Notes(logging.WARNING), logging.getLogger("faceanim_cli")
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
