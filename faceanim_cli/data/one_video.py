"""Cuts one video into clips, with landmarks."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.animation.landmark_model import LandmarkModel
from faceanim_cli.data.landmarks import (
    LANDMARKS_FOLDER,
    NUM_LANDMARKS,
    NUM_POINTS,
    read_landmarks,
    write_landmarks,
)
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
from faceanim_cli.media import FrameSource, VideoReader, VideoWriter
from faceanim_cli.media.frame_source import sample_step
from faceanim_cli.pictures import Image, Landmarks, Points

CLIP_CRF = 12  # above the writer's default: training should see what x264 thinks unimportant at 17
SMALL_SQUARE = 1.25  # times the clips' size: square videos up to there are face crops, made before
GIVEN, ESTIMATED = "given", "estimated"


class StoppedError(Exception):
    """Preparation was asked to stop; not an error."""


@dataclass(frozen=True)
class PreparedClip:
    """What the manifest says about a clip, or about a still.

    ``box`` is the crop (x, y, w, h) in pixels of the source's frames, of which frame ``start`` is the first;
    ``face_px`` the median side of the face box in the clip; ``landmarks`` says whether they were given or
    estimated. ``identity`` and ``split`` are None unless a list said them: else the source's.
    """

    name: str
    split: str | None
    identity: str | None
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
    still: bool = False

    @property
    def file(self) -> str:
        """Its path inside the data folder."""
        return f"photos/{self.name}.png" if self.still else f"clips/{self.name}.mp4"

    def files(self, data: Path) -> list[Path]:
        """What lies in the data folder for it: itself first."""
        more = [] if self.still else [data / LANDMARKS_FOLDER / f"{self.name}.npy"]
        return [data / self.file, *more]

    def hashed(self, data: Path) -> "PreparedClip":
        """The same with the SHA-256 of its file."""
        return replace(self, sha256=file_sha256(data / self.file))


@dataclass(frozen=True)
class PreparedVideo:
    """What became of a video or a still, and what its source says of person and split."""

    clips: list[PreparedClip] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    identity: str = ""
    split: str | None = None


@dataclass(frozen=True)
class VideoPreparer:
    """Cuts videos into clips.

    Attributes:
        out: the data folder; has the folders ``clips`` and ``landmarks``.
        size: shorter side of the clips, pixels.
        crop: face: as the paper does; none: frames whole; auto: whole where they are face crops already.
        settings: see ``SequenceSettings``.
        detector: of this thread.
        model: finds the landmarks of videos that come without; None if there are none such.
        stopping: asked once a frame; when true, ``StoppedError`` is raised.
    """

    out: Path
    size: int
    crop: str
    settings: SequenceSettings
    detector: Detector
    model: LandmarkModel | None
    stopping: Callable[[], bool]

    def prepare(self, source: Source, listed: list[VoxRow] | None = None) -> PreparedVideo:
        """Write the clips of a video, and their landmarks; files appear whole or not at all.

        The video is decoded twice: once to find the clips, once to cut them.

        Args:
            source: the video.
            listed: the clips, where a list says them, instead of the protocol.

        Raises:
            UnreadableInputError: not one frame can be decoded, or landmarks were given that do not read.
            FaceanimError: a clip cannot be written.
            StoppedError: asked to stop.
        """
        result = PreparedVideo()
        with source.open() as video:
            size, aspect = (video.width, video.height), video.pixel_aspect
            given = None if source.landmarks is None else read_landmarks(source.landmarks, size, aspect)
            found = self._sequences(source, video, listed)
            result.dropped.extend(item for item in found if isinstance(item, Dropped))
            wanted = [item for item in found if isinstance(item, Sequence)]
            for sequence, path, count in self._cut(source, video, wanted):
                clip = self._described(source, video, sequence, path, count, given)
                if isinstance(clip, Dropped):
                    path.unlink(missing_ok=True)
                    result.dropped.append(clip)
                else:
                    result.clips.append(clip)
        return result

    def _sequences(
        self, source: Source, video: FrameSource, listed: list[VoxRow] | None
    ) -> list[Sequence | Dropped]:
        size = (video.width, video.height)
        if listed is not None:
            return listed_sequences(listed, video.fps, size, self.settings)
        is_clip = source.is_clip or (video.width == video.height <= SMALL_SQUARE * self.size)
        if self.crop == "none" or (self.crop == "auto" and is_clip):
            if min(size) < self.settings.min_size:
                detail = f"frames of {size[0]}x{size[1]} pixels, --min-size is {self.settings.min_size}"
                return [Dropped(0, video.frame_count_estimate or 0, "too small", detail)]
            return [Sequence(0, sys.maxsize, None)]
        step = sample_step(video.fps, SAMPLES_PER_SECOND)
        return list(face_sequences(self._until_stopped(video), step, self.detector, self.settings))

    def _cut(
        self, source: Source, video: FrameSource, sequences: list[Sequence]
    ) -> Iterator[tuple[Sequence, Path, int]]:
        """Write sequences, which may overlap, in one pass; (sequence, its clip, frames) as each is whole.

        Those that begin after the last frame come out at the end, with no file and no frames.
        """
        waiting = sorted(sequences, key=lambda sequence: sequence.start)
        running: list[tuple[Sequence, VideoWriter, contextlib.ExitStack]] = []
        with contextlib.ExitStack() as undo:  # whatever is raised, no clip stays half-written
            for index, frame in enumerate(self._until_stopped(video) if waiting else ()):
                for item in [item for item in running if item[0].stop <= index]:
                    running.remove(item)
                    item[2].close()
                    yield item[0], item[1].path, item[1].frame_count
                while waiting and waiting[0].start <= index:
                    sequence = waiting.pop(0)
                    size = _clip_size(video, sequence, self.size)
                    stack = undo.enter_context(contextlib.ExitStack())
                    clip = VideoWriter(self._path(source, sequence), video.fps, size, crf=CLIP_CRF)
                    running.append((sequence, stack.enter_context(clip), stack))
                for sequence, writer, _ in running:
                    writer.write(_framed(frame, sequence, (writer.width, writer.height)))
                if not running and not waiting:
                    break
            for sequence, writer, stack in running:
                stack.close()
                yield sequence, writer.path, writer.frame_count
        for sequence in waiting:
            yield sequence, self._path(source, sequence), 0

    def _described(
        self,
        source: Source,
        video: FrameSource,
        sequence: Sequence,
        path: Path,
        count: int,
        given: Landmarks | None,
    ) -> PreparedClip | Dropped:
        """The manifest's row of a written clip, after its landmarks are written too; or why it is none."""
        stop = sequence.start + count
        if count == 0:
            return Dropped(sequence.start, sequence.stop, "beyond the end of the video")
        if count < self.settings.min_frames:
            detail = f"{count} frames, --min-frames is {self.settings.min_frames}"
            return Dropped(sequence.start, stop, "too short", detail)
        crop = sequence.crop or Box(0, 0, video.width, video.height)
        with VideoReader(path) as clip:
            try:
                track = self._track_in_clip(sequence, crop, clip)
            except NoFaceError:
                return Dropped(sequence.start, stop, "no face")
            size = (clip.width, clip.height)
            if given is not None:
                landmarks = np.full((count, NUM_POINTS, 2), np.nan)
                known = given[sequence.start : stop]
                landmarks[: len(known)] = _into_clip(known, crop, size)
            else:
                assert self.model is not None
                landmarks = self.model(self._until_stopped(clip), track)
        if not np.isfinite(landmarks[:, :NUM_LANDMARKS]).all((1, 2)).any():
            return Dropped(sequence.start, stop, "no landmarks")
        write_landmarks(self.out, path.stem, landmarks)
        clip_made = PreparedClip(
            name=path.stem,
            split=sequence.split,
            identity=sequence.person,
            source=str(source.path),
            start=sequence.start,
            frames=count,
            fps=str(video.fps),
            width=size[0],
            height=size[1],
            box=(int(crop.x), int(crop.y), int(crop.w), int(crop.h)),
            face_px=round(float(np.median([box.side for box in track.boxes]))),
            landmarks=ESTIMATED if given is None else GIVEN,
            sha256="",
        )
        return clip_made.hashed(self.out)

    def _track_in_clip(self, sequence: Sequence, crop: Box, clip: VideoReader) -> FaceTrack:
        """The face's boxes by frame of the clip, in its pixels."""
        if sequence.track is None:
            return track_face(clip.sample(SAMPLES_PER_SECOND), self.detector, str(clip.path))
        scale_x, scale_y = clip.width / crop.w, clip.height / crop.h
        boxes = tuple(
            Box((b.x - crop.x) * scale_x, (b.y - crop.y) * scale_y, b.w * scale_x, b.h * scale_y)
            for b in sequence.track.boxes
        )
        indices = tuple(index - sequence.start for index in sequence.track.indices)
        return FaceTrack(indices, boxes, sequence.track.misses)

    def _path(self, source: Source, sequence: Sequence) -> Path:
        if sequence.name is not None:
            name = file_name(sequence.name)
        else:
            name = source.name if sequence.crop is None else f"{source.name}-{sequence.start:06d}"
        return self.out / "clips" / f"{name}.mp4"

    def _until_stopped(self, video: FrameSource) -> Iterator[Image]:
        for frame in video:
            if self.stopping():
                raise StoppedError
            yield frame


def _into_clip(points: Landmarks, crop: Box, size: tuple[int, int]) -> Points:
    """Points of the video's frame as points of the clip's."""
    factors = np.array([size[0] / crop.w, size[1] / crop.h])
    return np.asarray((points + 0.5 - (crop.x, crop.y)) * factors - 0.5)


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
