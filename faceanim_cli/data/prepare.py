"""Prepares training data from folders of videos: clips, landmarks and a manifest (paper, section 4)."""

import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import torch

from faceanim_cli.animation.landmark_model import LandmarkModel
from faceanim_cli.data.clips import cache_bytes
from faceanim_cli.data.data_folder import MANIFEST, has_manifest, in_both_splits, read_manifest, write_table
from faceanim_cli.data.journal import FILE as JOURNAL
from faceanim_cli.data.journal import Journal, key_of, update_manifest
from faceanim_cli.data.landmarks import EXTRA_FOLDER, LANDMARKS_FOLDER
from faceanim_cli.data.one_video import PreparedClip, PreparedVideo, VideoPreparer
from faceanim_cli.data.sequences import Dropped, SequenceSettings
from faceanim_cli.data.sources import Source, find_sources, with_unique_name, without_results
from faceanim_cli.data.stills import prepare_still
from faceanim_cli.data.vox_metadata import VoxRow, read_vox_metadata
from faceanim_cli.device import choose_device
from faceanim_cli.errors import NoFaceError, UnreadableInputError, UsageError
from faceanim_cli.faces import FaceDetector
from faceanim_cli.files import file_sha256
from faceanim_cli.pictures import Progress
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights

DROPPED = "dropped.csv"
UNREADABLE = "unreadable"
CROPS = ("auto", "face", "none")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparationSettings:
    """How videos become clips."""

    size: int = 256  # pixels: shorter side of the clips, even
    crop: str = "auto"  # face, none, or auto: what is a face crop already is taken whole
    sequences: SequenceSettings = field(default_factory=SequenceSettings)
    person_from: str = "auto"  # see sources.find_sources
    landmarks: Path | None = None  # a folder of <video>.npy
    landmark_model: Path | None = None  # animation weights; None: the shipped ones
    metadata: Path | None = None  # video-preprocessing's list of clips
    val_share: float = 0.1  # of the people
    seed: int = 0  # of the split
    jobs: int | None = None  # videos at a time; None: one a core
    device: str = "auto"  # of the landmark model


@dataclass(frozen=True)
class Preparation:
    """What came of it: all that the data folder holds, videos of earlier runs included."""

    folder: Path
    clips: list[PreparedClip]
    dropped: list[tuple[str, Dropped]]  # (video, what)

    @property
    def unreadable(self) -> list[str]:
        """Videos that could not be read."""
        return [video for video, dropped in self.dropped if dropped.reason == UNREADABLE]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "manifest": str(self.folder / MANIFEST),
            "clips": [asdict(clip) for clip in self.clips],
            "dropped": [{"source": source, **asdict(item)} for source, item in self.dropped],
        }

    def __str__(self) -> str:
        clips = [clip for clip in self.clips if not clip.still]
        split = Counter(clip.split for clip in clips)
        people = Counter(dict({clip.identity: clip.split for clip in clips}).values())
        text = (
            f"{split['train']} clips of {people['train']} people to train on, "
            f"{split['val']} of {people['val']} to validate on"
        )
        if stills := len(self.clips) - len(clips):
            text += f", {stills} photos for super-resolution"
        room = sum(cache_bytes(c.width, c.height, c.frames, float(Fraction(c.fps))) for c in clips)
        text += f"; decoded for training they take {room / 1e9:.1f} GB"
        reasons = Counter(dropped.reason for _, dropped in self.dropped)
        if reasons:
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            text += f"; dropped: {counts} ({self.folder / DROPPED})"
        return text


def prepare(
    videos: Sequence[str | os.PathLike[str]],
    out: Path,
    settings: PreparationSettings,
    report: Callable[[str], None] = log.info,
    progress: Progress | None = None,
) -> Preparation:
    """Write ``clips/``, ``landmarks/``, ``manifest.csv`` and ``dropped.csv`` into ``out``.

    Called again, it goes on where it stopped, also after a ``kill -9``; with further videos, it adds them.
    The manifest is written at the end, so that nothing trains on half of the data unawares.

    Args:
        videos: see ``sources.find_sources``.
        out: the data folder; created.
        settings: see there.
        report: takes lines for people.
        progress: told how many videos are done and how many there are.

    Raises:
        UnreadableInputError: nothing to read among the videos, or nothing readable.
        NoFaceError: no clip in any.
        UsageError: settings that make no sense, ``out`` prepared with others, not writable, or a video that
            would be overwritten.
        FaceanimError: the disk is full.
    """
    _check(settings)
    found = find_sources(videos, settings.person_from, settings.landmarks, out)
    sources = without_results(found, out, (out / JOURNAL).is_file())
    listed = None if settings.metadata is None else read_vox_metadata(settings.metadata)
    missing: list[str] = []
    if listed is not None:
        at_hand = {source.path.stem: source for source in sources}
        missing = sorted(listed.keys() - at_hand.keys())
        sources = [source for name, source in at_hand.items() if name in listed]
        _check_people(sources, listed)
        if not sources:
            raise UnreadableInputError(f"{settings.metadata}: none of its videos is among those given")
    for folder in (out, out / "clips", out / "landmarks"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot write {folder}: {error.strerror}; faceanim prepare -o takes another place"
            ) from error
    if has_manifest(out):
        read_manifest(out)  # one that does not read is told before hours of work, not after them
    journal = Journal.read(out, _shared_settings(settings))
    sources = _renamed(sources, journal)
    todo = [source for source in sources if not journal.knows(source, _rows_of(source, listed))]
    if len(todo) < len(sources):
        report(f"{len(sources) - len(todo)} of {len(sources)} videos are done already")
    with journal.appending():
        _work(todo, out, settings, listed, journal, len(sources), progress)
    journal.rename(sources)
    result = _finish(out, journal, settings, missing, report)
    if not result.clips:
        if len(result.unreadable) == len(sources):
            first = result.dropped[0][1].detail
            raise UnreadableInputError(
                first if len(sources) == 1 else f"no video can be read; first: {first}"
            )
        reasons = ", ".join(sorted({dropped.reason for _, dropped in result.dropped}))
        raise NoFaceError(
            f"{len(sources)} videos and no clip ({reasons}); {out / DROPPED} says more; faceanim prepare's "
            "--min-size and --min-frames set what is kept, its --crop none takes frames whole"
        )
    return result


def _work(
    todo: Sequence[Source],
    out: Path,
    settings: PreparationSettings,
    listed: Mapping[str, list[VoxRow]] | None,
    journal: Journal,
    total: int,
    progress: Progress | None,
) -> None:
    """Prepare the videos side by side.

    Threads will do: ffmpeg decodes in processes of its own, and OpenCV and torch let go of the interpreter.
    """
    if not todo:
        return
    for folder in ("clips", "photos", LANDMARKS_FOLDER, EXTRA_FOLDER):
        for leftover in (out / folder).glob(".*.partial-*"):
            leftover.unlink(missing_ok=True)  # of a run that was killed
    stop = threading.Event()
    model = None
    if any(source.landmarks is None and not source.still for source in todo):
        weights = settings.landmark_model or shipped_weights(ANIMATION)
        model = LandmarkModel(weights, choose_device(settings.device))
    of_thread = threading.local()

    def work(source: Source) -> PreparedVideo:
        if not hasattr(of_thread, "detector"):
            of_thread.detector = FaceDetector()
        preparer = VideoPreparer(
            out, settings.size, settings.crop, settings.sequences, of_thread.detector, model, stop.is_set
        )
        try:
            if source.still:
                return prepare_still(source, out, of_thread.detector)
            return preparer.prepare(source, _rows_of(source, listed))
        except UnreadableInputError as error:
            return PreparedVideo(dropped=[Dropped(0, 0, UNREADABLE, str(error))])

    done = total - len(todo)
    with _one_thread_each(), ThreadPoolExecutor(settings.jobs or _cores()) as pool:
        futures = {pool.submit(work, source): source for source in todo}
        try:
            if progress is not None:
                progress(done, total)
            for future in as_completed(futures):
                source = futures[future]
                journal.add(source, future.result(), _rows_of(source, listed))
                done += 1
                if progress is not None:
                    progress(done, total)
        except BaseException:  # Ctrl-C, SIGTERM or a full disk: the videos under way are given up
            stop.set()
            for future in futures:
                future.cancel()
            raise


def _finish(
    out: Path,
    journal: Journal,
    settings: PreparationSettings,
    missing: Sequence[str],
    report: Callable[[str], None],
) -> Preparation:
    """Draw the split and write manifest and list of what was dropped, from all that the journal has."""
    clips: list[PreparedClip] = []
    dropped: list[tuple[str, Dropped]] = [
        (name, Dropped(0, 0, "missing", f"listed in {settings.metadata}")) for name in missing
    ]
    seen: dict[str, str] = {}
    for source, video in sorted(journal.videos.items()):
        dropped += [(source, item) for item in video.dropped]
        for made in video.clips:
            clip = replace(made, identity=made.identity or video.identity, split=made.split or video.split)
            twin = seen.setdefault(clip.sha256, clip.file)
            if twin == clip.file:
                clips.append(clip)
            else:  # the same footage under two names would be trained and validated on
                detail = f"the same as {twin}"
                dropped.append((source, Dropped(clip.start, clip.start + clip.frames, "duplicate", detail)))
    clips = update_manifest(out, journal, clips, settings.val_share, settings.seed, report)
    lost = [{"source": source, **asdict(item)} for source, item in dropped]
    write_table(out / DROPPED, ("source", "start", "stop", "reason", "detail"), lost)
    return Preparation(out, clips, dropped)


def _rows_of(source: Source, listed: Mapping[str, list[VoxRow]] | None) -> list[VoxRow] | None:
    """What a list says about a video; None without a list, and for stills."""
    return listed[source.path.stem] if listed is not None and not source.still else None


def _check_people(sources: Sequence[Source], listed: Mapping[str, list[VoxRow]]) -> None:
    """Refuse a list, before any work, by which somebody is trained and validated on."""
    rows = [(source, row) for source in sources for row in listed[source.path.stem]]
    if both := in_both_splits((row.person or source.identity, row.split or "") for source, row in rows):
        raise UsageError(f"--metadata: {both[0]} is in train and in test; give each person one split")


def _renamed(sources: Sequence[Source], journal: Journal) -> list[Source]:
    """Videos whose name a video of an earlier run has, under another name."""
    taken = {
        re.sub(r"-\d{6,}$", "", clip.name): key  # without the frame number
        for key, video in journal.videos.items()
        for clip in video.clips
    }
    return [
        with_unique_name(source) if taken.get(source.name, key_of(source)) != key_of(source) else source
        for source in sources
    ]


def _shared_settings(settings: PreparationSettings) -> dict[str, Any]:
    """The settings that all clips of a data folder share."""
    model = settings.landmark_model
    return {
        "size": settings.size,
        "crop": settings.crop,
        **asdict(settings.sequences),
        "landmark_model": "shipped" if model is None else f"{model.name}, {file_sha256(model)[:16]}",
    }


def _check(settings: PreparationSettings) -> None:
    if settings.crop not in CROPS:
        raise UsageError(f"--crop {settings.crop}: one of {', '.join(CROPS)}")
    if not 32 <= settings.size <= 4096 or settings.size % 2:
        raise UsageError(f"--size {settings.size}: give an even number from 32 to 4096")
    if not 0 <= settings.val_share < 1:
        raise UsageError(f"--val-share {settings.val_share}: give a share from 0 to less than 1")
    if settings.landmarks is not None and not settings.landmarks.is_dir():
        raise UsageError(f"--landmarks {settings.landmarks}: no such folder")
    sequences = settings.sequences
    if sequences.scale < 1 or sequences.min_frames < 2 or sequences.max_frames < sequences.min_frames:
        raise UsageError("--scale is 1 or more, --min-frames 2 or more, and --max-frames not less than that")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Videos run side by side already: threads within one would only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(-1)  # OpenCV's own choice again
