"""What a preparation has done so far, video by video: the file that lets it go on.

``prepared.jsonl`` in the data folder: a line with the settings, then one for each video, appended once all of
its clips are whole. Of a video that is in there twice, the later line counts. A line that a power cut left
half-written is no line.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from faceanim_cli.data.one_video import PreparedClip, PreparedVideo
from faceanim_cli.data.sequences import Dropped
from faceanim_cli.data.sources import Source
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.media import whole_file

FILE = "prepared.jsonl"


@dataclass
class Journal:
    """The videos that are done, by their path."""

    folder: Path
    settings: Mapping[str, Any]
    videos: dict[str, PreparedVideo] = field(default_factory=dict)
    _stamps: dict[str, list[int]] = field(default_factory=dict)
    _stream: TextIO | None = None

    @classmethod
    def read(cls, folder: Path, settings: Mapping[str, Any]) -> "Journal":
        """The journal of a data folder; an empty one where there is none.

        Raises:
            UsageError: the folder was prepared with other settings.
            UnreadableInputError: a journal that does not read.
        """
        journal = cls(folder, settings)
        path = folder / FILE
        if not path.is_file():
            return journal
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # the last is empty, or broken off
        try:
            before = json.loads(lines[0])["settings"] if lines else dict(settings)
            for line in lines[1:]:
                journal._take_in(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableInputError(
                f"{path}: damaged ({error}); delete it to prepare this folder anew"
            ) from error
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        if changed:
            was = ", ".join(f"{key} {before.get(key)}" for key in changed)
            raise UsageError(f"{folder} was prepared with other settings ({was}); take these, or another -o")
        return journal

    def knows(self, source: Source) -> bool:
        """Whether a video is done, has not changed since, and all of its clips are still there."""
        key = str(source.path)
        return (
            self._stamps.get(key) == _stamp(source.path)
            and all((self.folder / "clips" / f"{clip.name}.mp4").is_file() for clip in self.videos[key].clips)
            and all(
                (self.folder / "landmarks" / f"{clip.name}.npy").is_file() for clip in self.videos[key].clips
            )
        )

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """The journal open for ``add``; first rewritten without a broken last line."""
        with whole_file(self.folder / FILE) as partial, partial.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps({"settings": self.settings}) + "\n")
            for key, video in self.videos.items():
                stream.write(_line(key, self._stamps[key], video))
        with (self.folder / FILE).open("a", encoding="utf-8") as self._stream:
            yield

    def add(self, source: Source, video: PreparedVideo) -> None:
        """A video is done. Clips that it had before and has no more are removed.

        Raises:
            FaceanimError: the line cannot be written.
        """
        assert self._stream is not None
        key, stamp = str(source.path), _stamp(source.path)
        kept = {clip.name for clip in video.clips}
        for clip in self.videos[key].clips if key in self.videos else ():
            if clip.name not in kept:
                (self.folder / "clips" / f"{clip.name}.mp4").unlink(missing_ok=True)
                (self.folder / "landmarks" / f"{clip.name}.npy").unlink(missing_ok=True)
        try:
            self._stream.write(_line(key, stamp, video))
            self._stream.flush()
        except OSError as error:
            raise FaceanimError(f"cannot write {self.folder / FILE}: {error.strerror}") from error
        self.videos[key], self._stamps[key] = video, stamp

    def _take_in(self, entry: dict[str, Any]) -> None:
        key = entry["source"]
        clips = [PreparedClip(**{**clip, "box": tuple(clip["box"])}) for clip in entry["clips"]]
        self.videos[key] = PreparedVideo(clips, [Dropped(**dropped) for dropped in entry["dropped"]])
        self._stamps[key] = entry["stamp"]


def _line(key: str, stamp: list[int], video: PreparedVideo) -> str:
    entry = {
        "source": key,
        "stamp": stamp,
        "clips": [asdict(clip) for clip in video.clips],
        "dropped": [asdict(dropped) for dropped in video.dropped],
    }
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _stamp(path: Path) -> list[int]:
    """Size and time of change: other for a file that was copied or downloaded again."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
