"""What a preparation has done so far, source by source: the file that lets it go on.

``prepared.jsonl`` in the data folder: a line with the settings, one with the manifest as it was last written,
then one for each video or photo, appended once all that it became is whole. Of a source that is in there
twice, the later line counts. A line that a power cut left half-written is no line.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from faceanim_cli.data.landmarks import landmark_files
from faceanim_cli.data.one_video import PreparedClip, PreparedVideo
from faceanim_cli.data.sequences import Dropped
from faceanim_cli.data.sources import Source
from faceanim_cli.data.vox_metadata import VoxRow
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.files import file_stamp
from faceanim_cli.media import whole_file

FILE = "prepared.jsonl"


@dataclass
class Journal:
    """The sources that are done, by their path.

    Attributes:
        folder: the data folder.
        settings: what all of its clips share.
        videos: what became of each source.
        manifest: person and split of each file as they were last written, but for what people had changed by
            hand: so changes are told from what was written, for good. Empty before the first time.
        draw: share and seed of the validation people at that time.
    """

    folder: Path
    settings: Mapping[str, Any]
    videos: dict[str, PreparedVideo] = field(default_factory=dict)
    manifest: dict[str, dict[str, str]] = field(default_factory=dict)
    draw: list[float] = field(default_factory=list)
    _stamps: dict[str, Any] = field(default_factory=dict)
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
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            lines = text.split("\n")[:-1]  # the last is empty, or broken off
            before = json.loads(lines[0])["settings"] if lines else dict(settings)
            for line in lines[1:]:
                journal._take_in(json.loads(line))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UnreadableInputError(
                f"{path}: damaged ({error}); delete it to prepare this folder anew"
            ) from error
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        if changed:
            was = ", ".join(f"{key} {before.get(key)}" for key in changed)
            raise UsageError(f"{folder} was prepared with other settings ({was}); take these, or another -o")
        return journal

    def knows(self, source: Source, listed: list[VoxRow] | None = None) -> bool:
        """Whether a source is done as it would be now, and all that it became is still there."""
        key = key_of(source)
        if self._stamps.get(key) != _stamp(source, listed):
            return False
        return all(path.is_file() for clip in self.videos[key].clips for path in clip.files(self.folder))

    def rename(self, sources: list[Source]) -> None:
        """Give videos that are known the person and the split that they have by now."""
        for source in sources:
            video = self.videos.get(key_of(source))
            if video is not None:
                self.videos[key_of(source)] = replace(video, identity=source.identity, split=source.split)

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """The journal open for ``add``; first rewritten without a broken last line."""
        self.write()
        with self._path.open("a", encoding="utf-8", errors="surrogateescape") as self._stream:
            yield

    def write(self) -> None:
        """Write the whole journal."""
        with (
            whole_file(self._path) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            stream.write(json.dumps({"settings": self.settings}) + "\n")
            written = {"manifest": self.manifest, "draw": self.draw}
            stream.write(json.dumps(written, ensure_ascii=False) + "\n")
            for key, video in self.videos.items():
                stream.write(_line(key, self._stamps[key], video))

    def add(self, source: Source, video: PreparedVideo, listed: list[VoxRow] | None = None) -> None:
        """A source is done. What it became before and does no more is removed.

        Raises:
            FaceanimError: the line cannot be written.
        """
        assert self._stream is not None
        key, stamp = key_of(source), _stamp(source, listed)
        video = replace(video, identity=source.identity, split=source.split)
        kept = {path for clip in video.clips for path in clip.files(self.folder)}
        for clip in self.videos[key].clips if key in self.videos else ():
            for path in clip.files(self.folder):
                if path not in kept:
                    path.unlink(missing_ok=True)
        try:
            self._stream.write(_line(key, stamp, video))
            self._stream.flush()
        except OSError as error:
            raise FaceanimError(f"cannot write {self._path}: {error.strerror}") from error
        self.videos[key], self._stamps[key] = video, stamp

    @property
    def _path(self) -> Path:
        return self.folder / FILE

    def _take_in(self, entry: dict[str, Any]) -> None:
        if "manifest" in entry:
            self.manifest, self.draw = entry["manifest"], entry["draw"]
            return
        if "identity" not in entry:  # of an older version: prepared anew
            return
        key = entry["source"]
        clips = [PreparedClip(**{**clip, "box": tuple(clip["box"])}) for clip in entry["clips"]]
        dropped = [Dropped(**dropped) for dropped in entry["dropped"]]
        self.videos[key] = PreparedVideo(clips, dropped, entry["identity"], entry["split"])
        self._stamps[key] = entry["stamp"]


def key_of(source: Source) -> str:
    """A source's name in the journal: the same from every folder."""
    return str(source.path.resolve())


def _line(key: str, stamp: Any, video: PreparedVideo) -> str:
    return json.dumps({"source": key, "stamp": stamp, **asdict(video)}, ensure_ascii=False) + "\n"


def _stamp(source: Source, listed: list[VoxRow] | None) -> Any:
    """What a source's clips depend on, as JSON values; another for a file that was downloaded again."""
    try:
        files = [source.path, *(landmark_files(source.landmarks) if source.landmarks else ())]
        return [[file_stamp(path) for path in files], sorted(map(repr, listed)) if listed else None]
    except OSError:
        return None
