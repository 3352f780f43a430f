"""Which photos and drivers a person means: a file, a folder, or a glob such as ``'photos/*.jpg'``."""

import glob
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import PHOTO_SUFFIXES, VIDEO_SUFFIXES, holds_frames

MOTION_SUFFIX = ".motion"


@dataclass(frozen=True)
class Found:
    """Inputs of one kind, sorted by path."""

    files: tuple[Path, ...]
    ignored: int = 0
    """Hidden files and files of other kinds that were passed over."""
    searched: Path | None = None
    """The folder that was searched, or in which a glob starts; None if files were named."""
    kind: frozenset[str] = frozenset()
    """Suffixes that were searched for."""

    def would_take(self, path: Path) -> bool:
        """Whether the same search would find a file of this name; without a suffix, a folder of frames."""
        return path.suffix.lower() in self.kind or (not path.suffix and MOTION_SUFFIX in self.kind)


def find_photos(where: str, results: Path) -> Found:
    """Photos.

    Args:
        where: a file, a folder (its photos, not those of folders inside it), or a glob.
        results: a folder in which nothing is searched: an output folder inside an input folder.

    Raises:
        UnreadableInputError: there is none.
    """
    found = _find(where, results, "photo", PHOTO_SUFFIXES, lambda path: False)
    if not found.files:
        raise UnreadableInputError(f"no photos in {where}{_passed_over(found)}; check the path")
    return found


def find_drivers(where: str, results: Path) -> Found:
    """Drivers: videos, motion files, and folders of frames.

    Args:
        where: a file, a folder, or a glob. A folder stands for the drivers in it, folders of frames among
            them; one that holds frames and no driver is a driver itself.
        results: as for :func:`find_photos`.

    Raises:
        UnreadableInputError: there is none.
    """
    found = _find(where, results, "video", VIDEO_SUFFIXES | {MOTION_SUFFIX}, holds_frames)
    if not found.files and holds_frames(Path(where)):
        return Found((Path(where),))
    if not found.files:
        raise UnreadableInputError(f"no videos in {where}{_passed_over(found)}; check the path")
    return found


def _find(
    where: str, results: Path, what: str, suffixes: frozenset[str], wanted_folder: Callable[[Path], bool]
) -> Found:
    path = Path(where)
    if path.is_dir():
        root, candidates = path, iter(sorted(path.iterdir()))
    elif not path.exists() and glob.has_magic(where):
        plain = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        root = Path(*path.parts[:plain])
        # Path.glob() takes no absolute pattern
        candidates = map(Path, sorted(glob.glob(where, recursive=True)))  # noqa: PTH207
    elif path.exists():
        return Found((path,))
    else:
        raise UnreadableInputError(f"cannot read the {what} {path}: there is no such file; check the path")
    return _sift(root, candidates, results, suffixes, wanted_folder)


def _sift(
    root: Path,
    candidates: Iterable[Path],
    results: Path,
    suffixes: frozenset[str],
    wanted_folder: Callable[[Path], bool],
) -> Found:
    kept, ignored = [], 0
    inside = root.resolve() in results.resolve().parents
    for path in candidates:
        if inside and path.resolve().is_relative_to(results.resolve()):
            continue  # what an earlier run made
        hidden = path.name.startswith(".")
        if not hidden and (wanted_folder(path) if path.is_dir() else path.suffix.lower() in suffixes):
            kept.append(path)
        elif not path.is_dir():
            ignored += 1
    return Found(tuple(kept), ignored, root, suffixes)


def _passed_over(found: Found) -> str:
    return f" ({found.ignored} files of other kinds)" if found.ignored else ""
