"""Finds, starts and stops ffmpeg. Arguments are lists, never a shell line."""

import contextlib
import functools
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

from faceanim_cli.errors import UsageError
from faceanim_cli.interrupts import interrupts_held

TIMEOUT_S = 120.0  # for the short calls; a file that keeps a header parser busy this long is hostile
MAX_PIXELS = 8192 * 8192  # of a video's frame: 200 MB of RGB

# Demuxers that may open a file from outside: of containers and plain streams. Playlists and scripts (hls,
# dash, concat, imf, sdp), picture patterns (image2) and the player of text files (tty) are not among them:
# they make ffmpeg read other files.
DEMUXERS = (
    "3gp,aac,ac3,aiff,amr,ape,apng,asf,asf_o,au,av1,avi,caf,cavsvideo,dirac,dnxhd,dts,dtshd,dv,eac3,flac,flv,"
    "gif,gxf,h261,h263,h264,hevc,ivf,live_flv,loas,m4a,m4v,matroska,mjpeg,mlp,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,"
    "mpegvideo,mxf,nsv,nut,obu,ogg,oma,rm,tak,truehd,tta,ty,vc1,voc,vvc,w64,wav,webm,webp_anim,wtv,wv,xwma,"
    "yuv4mpegpipe"
)
_KEPT_LINES = 400  # of stderr, at each end
_LONGEST_LINE = 2000  # bytes
_PREFIX = re.compile(r"^(\[[^\]]*@ 0x[0-9a-f]+\] )+")  # "[in#0 @ 0x55a9af072180] "
_NOISE = re.compile(  # progress, and what follows from a cause that was told before
    r"^(frame=|size=|\s|Conversion failed!|Error opening (input|output) files?\b|Nothing was written into|"
    r"Task finished with|Terminating thread|Could not open encoder before EOF|Last message repeated)"
)


def find_ffmpeg() -> str:
    """Path of the ffmpeg binary: ``IMAGEIO_FFMPEG_EXE``, else imageio-ffmpeg's own, else the one on PATH.

    Raises:
        UsageError: there is none; the line says how to install it.
    """
    try:
        executable: str | None = shutil.which(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        executable = None
    if executable is None:
        raise UsageError(
            "ffmpeg is missing: pip install imageio-ffmpeg, or install it (apt install ffmpeg, brew install "
            "ffmpeg, winget install ffmpeg) and set IMAGEIO_FFMPEG_EXE to its path"
        )
    return executable


def file_url(path: Path) -> str:
    """A path that ffmpeg takes for nothing but a file: not an option, a protocol or a numbered pattern."""
    return f"file:{path.absolute()}"


def input_arguments(path: Path) -> list[str]:
    """Options that open ``path``: nothing but this file is read, and no larger frame is decoded."""
    if path.as_posix().startswith(("/dev/", "/proc/")):  # ffmpeg's own stdin is another than ours
        path = path.resolve()
    return [
        *("-protocol_whitelist", "file"),
        *("-format_whitelist", DEMUXERS),
        *("-max_pixels", str(MAX_PIXELS)),
        *("-i", file_url(path)),
    ]


class Stderr:
    """What a running ffmpeg complains of: read to its end in a thread, so that the pipe never fills up.

    Only the beginning and the end are kept: a damaged or hostile file can cause gigabytes.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Take over the stderr of a process that was started with ``stderr=subprocess.PIPE``."""
        assert process.stderr is not None
        self._pipe, process.stderr = process.stderr, None
        self._first: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._drain, name="ffmpeg-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """All that was kept; waits until ffmpeg has closed its side."""
        self._thread.join()
        return b"".join([*self._first, *self._last]).decode(errors="replace")

    def _drain(self) -> None:
        with self._pipe:
            while line := self._pipe.readline(_LONGEST_LINE):
                (self._first if len(self._first) < _KEPT_LINES else self._last).append(line)


def spawn(
    arguments: Sequence[str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start ffmpeg outside the terminal's process group: Ctrl-C reaches us alone, and we end it in order.

    Raises:
        UsageError: ffmpeg is missing or does not start.
    """
    command = [find_ffmpeg(), "-hide_banner", "-nostats", *arguments]
    if stdin == subprocess.DEVNULL:
        command.insert(1, "-nostdin")
    process = None
    try:
        with interrupts_held():  # of one that is started and has no name yet nobody would know
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # POSIX; the flag below does the same on Windows
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
    except OSError as error:
        raise UsageError(f"ffmpeg does not start ({command[0]}: {error.strerror}); reinstall it") from error
    except BaseException:
        if process is not None:
            stop(process)
        raise
    return process


def run(arguments: Sequence[str], timeout_s: float | None = TIMEOUT_S) -> tuple[int, str, str]:
    """Run ffmpeg to its end.

    Returns:
        Exit code, stdout, stderr. Past ``timeout_s`` seconds ffmpeg is killed and the code is negative.
    """
    process = spawn(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stderr = Stderr(process)
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    finally:
        stop(process)  # Ctrl-C
    return process.returncode, out.decode(errors="replace"), stderr.text()


@functools.cache
def has_filter(name: str) -> bool:
    """Whether this ffmpeg was built with a filter."""
    return re.search(rf"^ \S+ +{re.escape(name)} ", run(["-filters"])[1], re.MULTILINE) is not None


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs, close the pipes, reap. Safe to call twice."""
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # flushing into a dead process
                pipe.close()
    process.wait()


def last_words(stderr: str, lines: int = 1) -> str:
    """The last telling lines of ffmpeg's stderr, joined by "; ", without addresses and progress."""
    told: list[str] = []
    for line in stderr.splitlines():
        text = _PREFIX.sub("", line)
        if text.strip() and not _NOISE.match(text) and text not in told:
            told.append(text.strip())
    return "; ".join(told[-lines:])
