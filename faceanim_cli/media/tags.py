"""Tags of a written video, and the container flags without which they would be dropped."""

from collections.abc import Mapping
from pathlib import Path

from faceanim_cli.media.codecs import MP4_FAMILY

# What ffmpeg writes into MP4 as iTunes tags, which players, file managers and exiftool show.
STANDARD_TAGS = frozenset(
    {"title", "artist", "comment", "copyright", "date", "description", "genre", "keywords", "synopsis"}
)


def container_arguments(path: Path, metadata: Mapping[str, str]) -> list[str]:
    """ffmpeg options for a file that streams from its first byte and carries ``metadata``.

    A key outside ``STANDARD_TAGS`` survives in MP4 only with ``use_metadata_tags``, and that flag moves *all*
    keys from iTunes tags to QuickTime keys: ffmpeg and exiftool read both, many players only the former.
    So it is set only when such a key is there. ``encoder`` is always overwritten by ffmpeg.

    Raises:
        ValueError: a key is empty or holds "=" or a NUL, or is ``encoder``.
    """
    arguments = []
    for key, value in metadata.items():
        if not key or "=" in key or "\0" in key + value or key.lower() == "encoder":
            raise ValueError(f"impossible tag: {key!r}")
        arguments += ["-metadata", f"{key}={value}"]
    if path.suffix.lower() in MP4_FAMILY:
        unusual = any(key.lower() not in STANDARD_TAGS for key in metadata)
        arguments += ["-movflags", "+faststart+use_metadata_tags" if unusual else "+faststart"]
    return arguments
