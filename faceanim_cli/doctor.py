"""Checks of the installation: packages, device, ffmpeg, weights, and a short animation."""

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

from faceanim_cli import __version__
from faceanim_cli.errors import FaceanimError

State: TypeAlias = Literal["ok", "missing", "broken"]

NEEDED = ("torch", "torchvision", "numpy", "pillow", "imageio-ffmpeg", "safetensors", "huggingface-hub")
EXTRAS = {
    "c2pa-python": "provenance",
    "onnxscript": "onnx",
    "ray": "cluster",
}  # what only some commands need, and the extra that brings it
WRONG_LEVELS = 30  # of 255, mean difference; what is right differs by 5 to 10, black by more than 80


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    state: State
    """ok; missing: some commands or options do not work; broken: animating does not work."""
    about: str
    """One line: versions and places, or what is wrong and what to do."""


def examine() -> Iterator[Finding]:
    """Run all checks, one by one; the last takes some seconds. A check that fails stops no other."""
    yield Finding("faceanim", "ok", f"{__version__}, {Path(__file__).parent}")
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}, {platform.platform()}")
    for package in NEEDED:
        yield find_package(package)
    for package, extra in EXTRAS.items():
        yield find_package(package, extra)
    yield _try("device", _device)
    yield _try("ffmpeg", _ffmpeg)
    yield _try_encoders()
    yield _try("cascades", _cascades)
    yield _try("weights", _weights)
    yield _try("self-test", self_test)


def find_package(name: str, extra: str | None = None) -> Finding:
    """Which version of a package is installed.

    Args:
        name: as pip knows it.
        extra: the extra of ours that brings it; None for what must be there.
    """
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        if extra is None:
            return Finding(name, "broken", f"not installed: pip install {name}")
        return Finding(name, "missing", f'not installed: pip install "faceanim-cli[{extra}]"')


def self_test() -> str:
    """Animate two frames of a clip that ships, with the weights that ship, and look at what comes out.

    Returns:
        What was done, and where.

    Raises:
        FaceanimError: something on the way failed, or the result is not what it should be.
    """
    from faceanim_cli.animation.animator import Animator  # noqa: PLC0415 (imports torch)
    from faceanim_cli.animation.job import animate_file  # noqa: PLC0415
    from faceanim_cli.data.data_folder import example_clips  # noqa: PLC0415
    from faceanim_cli.faces import choose_face, crop_image, find_faces, frame_crop  # noqa: PLC0415
    from faceanim_cli.media import VideoReader, VideoWriter, write_photo  # noqa: PLC0415

    with VideoReader(example_clips() / "nod.mp4") as clip:
        frames = [frame for _, frame in zip(range(2), clip, strict=False)]
        rate, size = clip.fps, (clip.width, clip.height)
    with tempfile.TemporaryDirectory(prefix="faceanim-") as folder:
        photo, driver, output = (Path(folder, name) for name in ("photo.png", "driver.mp4", "result.mp4"))
        write_photo(photo, frames[0])
        with VideoWriter(driver, rate, size) as writer:
            for frame in frames:
                writer.write(frame)
        animator = Animator()
        animate_file(animator, photo, driver, output)
        with VideoReader(output) as video:
            results = [frame.astype(int) for frame in video]
    if len(results) != len(frames):
        raise FaceanimError(f"{len(results)} frames came out instead of {len(frames)}; please report it")
    precision = str(animator.dtype).removeprefix("torch.")
    # The driver hardly moves in two frames: the result shows the photo. Black frames, which some devices give
    # in half precision, and noise are far from it.
    height, width = frames[0].shape[:2]
    _, faces = find_faces(frames[0], "the example")
    crop = frame_crop(choose_face(faces, None, "the example"), (width, height))
    expected = crop_image(frames[0], crop, animator.size)
    difference = max(float(abs(result - expected).mean()) for result in results)
    if difference > WRONG_LEVELS:
        plain = (animator.device.type, precision) == ("cpu", "float32")
        advice = (
            "install faceanim and torch anew" if plain else "animate with --precision fp32 or --device cpu"
        )
        raise FaceanimError(
            f"results on {animator.device} in {precision} are wrong by {difference:.0f} levels; {advice}"
        )
    return f"{len(results)} frames animated on {animator.device} in {precision}"


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except FaceanimError as error:
        return Finding(name, "broken", " ".join(str(error).split()))
    except Exception as error:  # whatever it is, it is what a doctor is asked about
        return Finding(name, "broken", " ".join(f"{type(error).__name__}: {error}".split()))


def _device() -> str:
    import torch  # noqa: PLC0415

    from faceanim_cli.device import choose_device  # noqa: PLC0415

    device = choose_device("auto")
    if device.type == "cuda":
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return f"{len(names)} x {names[0]}, CUDA {torch.version.cuda}"
    name = "Apple GPU" if device.type == "mps" else platform.processor() or platform.machine()
    return f"{device.type}: {name}, {torch.get_num_threads()} threads"


def _ffmpeg() -> str:
    from faceanim_cli.media.ffmpeg import find_ffmpeg, run  # noqa: PLC0415

    code, out, error = run(["-version"])
    if code != 0 or not out.startswith("ffmpeg version"):
        raise FaceanimError(f"{find_ffmpeg()} does not run: {error.strip()[-200:]}; reinstall imageio-ffmpeg")
    return f"{out.split()[2]}, {find_ffmpeg()}"


def _try_encoders() -> Finding:
    """Videos need H.264 and AAC; what else is missing only keeps a few options from working."""
    from faceanim_cli.media.codecs import CODECS, encoders  # noqa: PLC0415
    from faceanim_cli.media.ffmpeg import find_ffmpeg  # noqa: PLC0415

    try:
        there = encoders(find_ffmpeg())
    except FaceanimError as error:
        return Finding("encoders", "broken", str(error))
    absent = [name for name, codec in CODECS.items() if codec.encoder not in there]
    absent += [] if "aac" in there else ["aac"]
    have = ", ".join(name for name in [*CODECS, "aac"] if name not in absent)
    if not absent:
        return Finding("encoders", "ok", have)
    state: State = "broken" if {"h264", "aac"} & set(absent) else "missing"
    return Finding(
        "encoders",
        state,
        f"without {', '.join(absent)}; pip install imageio-ffmpeg and unset IMAGEIO_FFMPEG_EXE",
    )


def _cascades() -> str:
    import cv2  # noqa: PLC0415

    from faceanim_cli.faces import FaceDetector  # noqa: PLC0415

    FaceDetector()
    return f"OpenCV {cv2.__version__}, {Path(cv2.__file__).parent}"


def _weights() -> str:
    """The shipped ones are needed; of the others it is told which are here."""
    from faceanim_cli.weights.catalogue import CATALOGUE  # noqa: PLC0415
    from faceanim_cli.weights.manage import describe_weights, list_weights  # noqa: PLC0415

    for name, entry in CATALOGUE.items():
        if entry.shipped is not None and describe_weights(name).parameters is None:
            raise FaceanimError(f"{name}: {entry.shipped} is missing or damaged; install faceanim again")
    return ", ".join(known.name for known in list_weights() if known.path is not None)
