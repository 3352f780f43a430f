"""Finds a batch's photos and drivers: a file, a folder, or a glob such as ``'photos/*.jpg'``."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import DRIVER_SUFFIXES, PHOTO_SUFFIXES, expand, holds_frames, is_animated
from faceanim_cli.media.output_checks import ADDRESS
from faceanim_cli.media.signatures import read_head
from faceanim_cli.motion.library import is_library_motion
from faceanim_cli.motion.motion_file import MOTION_SUFFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundFiles:
    """Inputs of one kind, sorted by path."""

    files: tuple[Path, ...]
    ignored: tuple[Path, ...] = ()
    """Hidden files and files of other kinds that were passed over."""
    searched: Path | None = None
    """The folder that was searched, or in which a glob starts; None if files were named."""
    kind: frozenset[str] = frozenset()
    """Suffixes that were searched for."""

    def matches(self, path: Path) -> bool:
        """Whether the same search would find a file of this name; without a suffix, a folder of frames."""
        return path.suffix.lower() in self.kind or (not path.suffix and MOTION_SUFFIX in self.kind)


def find_photos(where: str, results: Path) -> FoundFiles:
    """Photos.

    Args:
        where: a file, a folder (its photos, not those of folders inside it), or a glob.
        results: a folder in which nothing is searched: an output folder inside an input folder.

    Raises:
        UnreadableInputError: there is none.
    """
    found = _find(where, results, "photo", PHOTO_SUFFIXES, _is_photo)
    if not found.files:
        raise UnreadableInputError(f"no photos in {where}{_passed_over(found)}; check the path")
    return found


def find_drivers(where: str, results: Path) -> FoundFiles:
    """Drivers: videos, motion files, and folders of frames.

    Args:
        where: a file, a folder, a glob, or a motion of the library. A folder stands for the drivers in it,
            folders of frames among them; one that holds frames and no driver is a driver itself.
        results: as for :func:`find_photos`.

    Raises:
        UnreadableInputError: there is none.
    """
    if is_library_motion(Path(where)):
        return FoundFiles((Path(where),))
    found = _find(where, results, "video", DRIVER_SUFFIXES | {MOTION_SUFFIX}, _is_driver)
    if not found.files and holds_frames(Path(where)):
        return FoundFiles((Path(where),))
    if not found.files:
        raise UnreadableInputError(f"no videos in {where}{_passed_over(found)}; check the path")
    return found


def _find(
    where: str, results: Path, what: str, suffixes: frozenset[str], wanted: Callable[[Path], bool]
) -> FoundFiles:
    path = Path(where)
    try:
        if path.is_dir():
            return _filter(path, sorted(path.iterdir()), results, suffixes, wanted)
        if path.exists():
            return FoundFiles((path,))
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions"
        ) from error
    if ADDRESS.match(where) or not glob.has_magic(where):
        read_head(path, what)  # it raises: there is nothing, or an address
        return FoundFiles((path,))
    plain = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    matches = [match for match in expand(where) if match != path]  # the pattern itself, if there are none
    return _filter(Path(*path.parts[:plain]), matches, results, suffixes, wanted)


def _filter(
    root: Path,
    candidates: Iterable[Path],
    results: Path,
    suffixes: frozenset[str],
    wanted: Callable[[Path], bool],
) -> FoundFiles:
    kept, ignored = [], []
    folder = real_path(results)
    inside = real_path(root) in folder.parents
    for path in candidates:
        if inside and real_path(path).is_relative_to(folder):
            continue  # what an earlier run made
        try:
            is_folder = path.is_dir()
            if not path.name.startswith(".") and wanted(path):
                kept.append(path)
            elif not is_folder:
                ignored.append(path)
                logger.info("%s: ignored", path)
        except OSError as error:
            logger.warning("cannot read %s: %s; passed over", path, error.strerror)
        except UnreadableInputError as error:
            logger.warning("%s; passed over", error)
    return FoundFiles(tuple(kept), tuple(ignored), root, suffixes)


def real_path(path: Path) -> Path:
    """Where a path leads. Of a circle of links ``Path.resolve`` makes an error, here it leads to itself."""
    return Path(os.path.realpath(path))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.is_dir()


def _is_driver(path: Path) -> bool:
    if path.is_dir():
        return holds_frames(path)
    suffix = path.suffix.lower()
    # A WebP that stands still is a photo.
    return suffix == MOTION_SUFFIX or (suffix in DRIVER_SUFFIXES and (suffix != ".webp" or is_animated(path)))


def ignored_by_kind(files: Sequence[Path]) -> str:
    """Such as ``4 files: 2 hidden, 1 .srt, 1 without suffix``."""
    kinds = Counter(
        "hidden" if file.name.startswith(".") else file.suffix.lower() or "without suffix" for file in files
    )
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return f"{len(files)} {'file' if len(files) == 1 else 'files'}: {told}"


def _passed_over(found: FoundFiles) -> str:
    return f" ({ignored_by_kind(found.ignored)})" if found.ignored else ""
