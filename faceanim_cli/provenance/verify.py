"""Verifies whether a file states that it is AI-generated: credentials, metadata, watermark."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.media import FrameSource, open_video, read_photo
from faceanim_cli.media.find_files import frame_files, is_animated
from faceanim_cli.media.frame_source import fitted
from faceanim_cli.media.signatures import PHOTO, is_folder, kind_of, read_head
from faceanim_cli.pictures import Image
from faceanim_cli.provenance.credentials import Credentials, read_credentials
from faceanim_cli.provenance.stated_origin import StatedOrigin, stated_origin
from faceanim_cli.provenance.watermark import VERSION
from faceanim_cli.provenance.watermark_detector import LONGEST_SIDE, THRESHOLD, Detection, detect

MOST_FRAMES = 48
"""Of a video or a part of one: more bring little, as what does not move in them hides the watermark alike."""
WHOLE_SECONDS, PARTS, PART_SECONDS = 20.0, 5, 4.0
"""A longer video is searched in some parts of it, each by itself."""


@dataclass(frozen=True)
class Verification:
    """What a file says about its origin."""

    file: Path
    credentials: Credentials
    stated: StatedOrigin
    watermark: Detection

    @property
    def made_by_ai(self) -> bool:
        """Whether anything says so; credentials that do not hold say nothing."""
        return self.credentials.made_by_ai or self.stated.made_by_ai or self.watermark.found

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        ways = [
            *(["its signed content credentials say so"] if self.credentials.made_by_ai else []),
            *(["its metadata says so"] if self.stated.made_by_ai else []),
            *(
                [f"it bears faceanim's watermark, number {self.watermark.mark}"]
                if self.watermark.found
                else []
            ),
        ]
        told = f"made by AI: {', and '.join(ways)}" if ways else "nothing says that it was made by AI, which "
        told += "" if ways else "proves nothing: all that would can be removed"
        if self.credentials.state == "invalid":
            told += "; its content credentials are NOT valid: it was changed after it was signed, or forged"
        return told

    def details(self) -> list[str]:
        """A line for each way in which a file can tell."""
        seen, stated = self.watermark, self.stated
        numbers = (
            f"z {seen.z:.1f}, score {seen.score:.1f} of {THRESHOLD:g}, {seen.error_rate:.0%} of bits wrong"
        )
        return [
            f"content credentials: {self.credentials.line}",
            f"metadata: {stated.source_type or 'no DigitalSourceType'}",
            f"comment: {stated.comment or 'none of faceanim'}",
            f"watermark: {f'{_number(seen)}, format {VERSION}' if seen.found else 'none found'} ({numbers})",
        ]

    def facts(self) -> dict[str, object]:
        """All of it, as JSON values."""
        seen = self.watermark
        return {
            "file": str(self.file),
            "made_by_ai": self.made_by_ai,
            "sentence": self.sentence,
            "credentials": self.credentials.facts(),
            "metadata": self.stated.facts(),
            "watermark": {
                "found": seen.found,
                "version": VERSION if seen.found else None,
                "mark": seen.number,
                "score": round(seen.score, 2),
                "z": round(seen.z, 2),
                "error_rate": round(seen.error_rate, 3),
            },
        }


def verify(path: Path, trust: Path | None = None) -> Verification:
    """Look for content credentials, metadata and watermark in a video, a picture or a folder of frames.

    Args:
        path: the file, or the folder, of which the first frame is asked for credentials and metadata.
        trust: PEM certificates of authorities that are trusted to vouch for signers.

    Raises:
        UnreadableInputError: it is none, or damaged.
        UsageError: ``trust`` cannot be read.
    """
    watermark: Detection | None = None
    for frames in _parts(path):
        seen = detect(frames)
        if watermark is None or seen.score > watermark.score:
            watermark = seen
        if seen.found:
            break
    assert watermark is not None
    file = frame_files(path)[0] if is_folder(path) else path
    return Verification(path, read_credentials(file, trust), stated_origin(file), watermark)


def _parts(path: Path) -> Iterator[Iterable[Image]]:
    """Grey frames, uint8 (H, W), at most ``LONGEST_SIDE`` long: of all, or of each part of a long video."""
    if not is_folder(path) and not _moves(path):
        grey = cv2.cvtColor(read_photo(path), cv2.COLOR_RGB2GRAY)
        size = fitted(grey.shape[1], grey.shape[0], LONGEST_SIDE)
        yield [np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)]
        return
    with open_video(path) as video:
        seconds = video.duration
        if seconds is None or seconds <= WHOLE_SECONDS:
            yield _some_frames(video)
            return
    for part in range(PARTS):
        start = (seconds - PART_SECONDS) * part / (PARTS - 1)
        with open_video(path, start=start, duration=PART_SECONDS) as video:
            yield _some_frames(video)


def _some_frames(video: FrameSource) -> Iterator[Image]:
    step = ceil((video.frame_count_estimate or 1) / MOST_FRAMES)
    return islice(video.scan(LONGEST_SIDE), 0, step * MOST_FRAMES, step)


def _moves(path: Path) -> bool:
    """Whether a file is a video or a moving picture, by its header."""
    head = read_head(path, "file")
    if kind_of(head) != PHOTO or head.startswith(b"GIF8"):
        return True
    return head.startswith((b"RIFF", b"\x89PNG")) and is_animated(path)


def _number(seen: Detection) -> str:
    return "its number too faint to read" if seen.number is None else f"number {seen.number}"
