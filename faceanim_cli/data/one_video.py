"""One video to its clips and their landmarks."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.data.landmark_model import LandmarkModel
from faceanim_cli.data.landmarks import NUM_LANDMARKS, read_landmarks
from faceanim_cli.data.sequences import (
    SAMPLES_PER_SECOND,
    Dropped,
    Sequence,
    SequenceSettings,
    face_sequences,
)
from faceanim_cli.data.sources import Source, file_name
from faceanim_cli.data.vox_metadata import VoxRow, listed_sequences
from faceanim_cli.errors import NoFaceError
from faceanim_cli.faces.framing import Box, crop_image
from faceanim_cli.faces.tracking import Detector, FaceTrack, track_face
from faceanim_cli.files import file_sha256
from faceanim_cli.media import FrameSource, VideoReader, VideoWriter, whole_file
from faceanim_cli.media.video_reader import sample_step
from faceanim_cli.pictures import Image, Landmarks, Points

CLIP_CRF = 15  # above the writer's default: training should see what x264 thinks unimportant at 18
SMALL_SQUARE = 1.25  # times the clips' size: square videos up to there are face crops, made before
GIVEN, ESTIMATED = "given", "estimated"


class StoppedError(Exception):
    """Preparation was asked to stop; not an error."""


@dataclass(frozen=True)
class PreparedClip:
    """What the manifest says about a clip.

    ``box`` is the crop (x, y, w, h) in pixels of the source's frames, of which frame ``start`` is the first;
    ``face_px`` the median side of the face box in the clip; ``landmarks`` says whether they were given or
    estimated; ``split`` is None until it is drawn.
    """

    name: str
    split: str | None
    identity: str
    source: str
    start: int
    frames: int
    fps: str  # a fraction
    width: int
    height: int
    box: tuple[int, int, int, int]
    face_px: int
    landmarks: str
    sha256: str


@dataclass(frozen=True)
class PreparedVideo:
    """What became of a video."""

    clips: list[PreparedClip] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


@dataclass(frozen=True)
class Workshop:
    """What preparing any video takes.

    Attributes:
        out: has the folders ``clips`` and ``landmarks``.
        size: shorter side of the clips, pixels.
        crop: face: as the paper does; none: frames whole; auto: whole where they are face crops already.
        sequences: see ``SequenceSettings``.
        detector: of this thread.
        model: finds the landmarks of videos that come without; None if there are none such.
        stopping: asked once a frame; when true, ``StoppedError`` is raised.
    """

    out: Path
    size: int
    crop: str
    sequences: SequenceSettings
    detector: Detector
    model: LandmarkModel | None
    stopping: Callable[[], bool]


def prepare_video(source: Source, workshop: Workshop, listed: list[VoxRow] | None = None) -> PreparedVideo:
    """Write the clips of a video, and ``landmarks/<clip>.npy`` for each; files appear whole or not at all.

    The video is decoded twice: once to find the clips, once to cut them.

    Args:
        source: the video.
        workshop: see there.
        listed: the clips, where a list says them, instead of the protocol.

    Raises:
        UnreadableInputError: not one frame can be decoded, or landmarks were given that do not read.
        FaceanimError: a clip cannot be written.
        StoppedError: asked to stop.
    """
    given = None if source.landmarks is None else read_landmarks(source.landmarks)
    result = PreparedVideo()
    with source.open() as video:
        found = _sequences(source, video, workshop, listed)
        result.dropped.extend(item for item in found if isinstance(item, Dropped))
        wanted = [item for item in found if isinstance(item, Sequence)]
        for sequence, path, count in _cut(source, video, wanted, workshop):
            clip = _described(source, video, sequence, path, count, given, workshop)
            if isinstance(clip, Dropped):
                path.unlink(missing_ok=True)
                result.dropped.append(clip)
            else:
                result.clips.append(clip)
    return result


def _sequences(
    source: Source, video: FrameSource, workshop: Workshop, listed: list[VoxRow] | None
) -> list[Sequence | Dropped]:
    if listed is not None:
        return listed_sequences(listed, video.fps, (video.width, video.height), workshop.sequences)
    shorter = min(video.width, video.height)
    is_clip = source.is_clip or (video.width == video.height <= SMALL_SQUARE * workshop.size)
    if workshop.crop == "none" or (workshop.crop == "auto" and is_clip):
        smallest = workshop.sequences.min_size
        if shorter < smallest:
            detail = f"frames of {video.width}x{video.height} pixels, --min-size is {smallest}"
            return [Dropped(0, video.frame_count_estimate or 0, "too small", detail)]
        return [Sequence(0, sys.maxsize, None)]
    step = sample_step(video.fps, SAMPLES_PER_SECOND)
    frames = _until_stopped(video, workshop.stopping)
    return list(face_sequences(frames, step, workshop.detector, workshop.sequences))


def _cut(
    source: Source, video: FrameSource, sequences: list[Sequence], workshop: Workshop
) -> Iterator[tuple[Sequence, Path, int]]:
    """Write the sequences, which may overlap, in one pass; (sequence, its clip, frames) as each is whole.

    Those that begin after the last frame come out at the end, with no file and no frames.
    """
    waiting = sorted(sequences, key=lambda sequence: sequence.start)
    running: list[tuple[Sequence, VideoWriter, contextlib.ExitStack]] = []
    with contextlib.ExitStack() as undo:  # whatever is raised, no clip stays half-written
        for index, frame in enumerate(_until_stopped(video, workshop.stopping) if waiting else ()):
            for item in [item for item in running if item[0].stop <= index]:
                running.remove(item)
                item[2].close()
                yield item[0], item[1].path, item[1].frame_count
            while waiting and waiting[0].start <= index:
                sequence = waiting.pop(0)
                path = workshop.out / "clips" / f"{_clip_name(source, sequence)}.mp4"
                size = _clip_size(video, sequence, workshop.size)
                stack = undo.enter_context(contextlib.ExitStack())
                writer = stack.enter_context(VideoWriter(path, video.fps, size, crf=CLIP_CRF))
                running.append((sequence, writer, stack))
            for sequence, writer, _ in running:
                writer.write(_framed(frame, sequence, (writer.width, writer.height)))
            if not running and not waiting:
                break
        for sequence, writer, stack in running:
            stack.close()
            yield sequence, writer.path, writer.frame_count
    for sequence in waiting:
        yield sequence, workshop.out / "clips" / f"{_clip_name(source, sequence)}.mp4", 0


def _described(
    source: Source,
    video: FrameSource,
    sequence: Sequence,
    path: Path,
    count: int,
    given: Landmarks | None,
    workshop: Workshop,
) -> PreparedClip | Dropped:
    """The manifest's row of a written clip, after its landmarks are written too; or why it is none."""
    stop = sequence.start + count
    if count == 0:
        return Dropped(sequence.start, sequence.stop, "beyond the end of the video")
    if count < workshop.sequences.min_frames:
        detail = f"{count} frames, --min-frames is {workshop.sequences.min_frames}"
        return Dropped(sequence.start, stop, "too short", detail)
    whole = Box(0, 0, video.width, video.height)
    crop = sequence.crop or whole
    with VideoReader(path) as clip:
        try:
            track = _track_in_clip(sequence, crop, clip, workshop)
        except NoFaceError:
            return Dropped(sequence.start, stop, "no face")
        if given is not None:
            rows = np.full((count, NUM_LANDMARKS, 2), np.nan)
            known = given[sequence.start : stop]
            rows[: len(known)] = _into_clip(known, crop, (clip.width, clip.height))
            landmarks = rows.astype(np.float32)
        else:
            assert workshop.model is not None
            landmarks = workshop.model(_until_stopped(clip, workshop.stopping), track)
        size = (clip.width, clip.height)
    if not np.isfinite(landmarks).all((1, 2)).any():
        return Dropped(sequence.start, stop, "no landmarks")
    with whole_file(workshop.out / "landmarks" / f"{path.stem}.npy") as partial:
        np.save(partial, landmarks)
    return PreparedClip(
        name=path.stem,
        split=sequence.split or source.split,
        identity=sequence.person or source.identity,
        source=str(source.path),
        start=sequence.start,
        frames=count,
        fps=str(video.fps),
        width=size[0],
        height=size[1],
        box=(int(crop.x), int(crop.y), int(crop.w), int(crop.h)),
        face_px=round(float(np.median([box.side for box in track.boxes]))),
        landmarks=ESTIMATED if given is None else GIVEN,
        sha256=file_sha256(path),
    )


def _track_in_clip(sequence: Sequence, crop: Box, clip: VideoReader, workshop: Workshop) -> FaceTrack:
    """The face's boxes by frame of the clip, in its pixels."""
    if sequence.track is None:
        return track_face(clip.sample(SAMPLES_PER_SECOND), workshop.detector, str(clip.path))
    scale_x, scale_y = clip.width / crop.w, clip.height / crop.h
    boxes = tuple(
        Box((b.x - crop.x) * scale_x, (b.y - crop.y) * scale_y, b.w * scale_x, b.h * scale_y)
        for b in sequence.track.boxes
    )
    return FaceTrack(tuple(i - sequence.start for i in sequence.track.indices), boxes, sequence.track.misses)


def _into_clip(points: Landmarks, crop: Box, size: tuple[int, int]) -> Points:
    """Points of the video's frame as points of the clip's."""
    factors = np.array([size[0] / crop.w, size[1] / crop.h])
    return np.asarray((points + 0.5 - (crop.x, crop.y)) * factors - 0.5)


def _clip_name(source: Source, sequence: Sequence) -> str:
    if sequence.name is not None:
        return file_name(sequence.name)
    return source.name if sequence.crop is None else f"{source.name}-{sequence.start:06d}"


def _clip_size(video: FrameSource, sequence: Sequence, side: int) -> tuple[int, int]:
    """(width, height): the crop's, or with ``side`` for the shorter one; even, as H.264 wants it."""
    if sequence.crop is not None:
        return side, side
    scale = side / min(video.width, video.height)
    return 2 * round(video.width * scale / 2), 2 * round(video.height * scale / 2)


def _framed(frame: Image, sequence: Sequence, size: tuple[int, int]) -> Image:
    if sequence.crop is not None:
        return crop_image(frame, sequence.crop, size[0])
    if frame.shape[1::-1] == size:
        return frame
    how = cv2.INTER_AREA if size[0] < frame.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8)


def _until_stopped(video: FrameSource, stopping: Callable[[], bool]) -> Iterator[Image]:
    for frame in video:
        if stopping():
            raise StoppedError
        yield frame
