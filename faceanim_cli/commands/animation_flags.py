"""The command line flags of an animation; ``animation_options.py`` applies them."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from faceanim_cli.commands.help import BASICS, DEVICE, FACE, MORE, MOTION, OUTPUT
from faceanim_cli.commands.options import (
    AcceptLicense,
    Device,
    Offline,
    Overwrite,
    Precision,
    Weights,
    choice,
    option,
)
from faceanim_cli.commands.values import check_times, parse_crop, parse_fps, parse_shift, parse_time


def motion_amount(text: str) -> Any:
    """An option for how much of a motion is taken on."""
    return option(MOTION, text, min=0, max=2)


@dataclass(frozen=True)
class AnimationFlags:
    """What ``animate`` and ``batch`` take alike. Plain values only: a batch sends them to its workers."""

    sr: Annotated[
        bool | None,
        option(
            BASICS,
            "Super-resolution always, or never [for small photos]\n"
            "A large photo shows its own detail, which is faster; up to 256 none is needed.\n"
            "--no-sr: 256 x 256.\n"
            "LivePortrait's weights make 512 by themselves.",
            "--sr/--no-sr",
        ),
    ] = None
    size: Annotated[
        int | None,
        option(
            BASICS,
            "Side in pixels, 16 to 4096 [512; 256 with --no-sr]\n"
            "Of a whole photo its longer side, up to 8192 (default: the photo's own, up to 2560).",
            min=16,
            max=8192,
        ),
    ] = None
    start: Annotated[
        float | None,
        option(BASICS, "Where in the driver to begin: 3.5 or 1:20", parser=parse_time, metavar="TIME"),
    ] = None
    end: Annotated[
        float | None, option(BASICS + MORE, "Where in the driver to end", parser=parse_time, metavar="TIME")
    ] = None
    duration: Annotated[
        float | None,
        option(BASICS, "How much of the driver to take", parser=parse_time, metavar="TIME"),
    ] = None
    pose: Annotated[float, motion_amount("The head's motion: 0 none, 1 all, 2 twice as much")] = 1.0
    expression: Annotated[float, motion_amount("The motion of mouth, lids and brows, 0 to 2")] = 1.0
    mouth: Annotated[float, motion_amount("The mouth alone, times --expression, 0 to 2")] = 1.0
    eyes: Annotated[float, motion_amount("The lids alone, times --expression, 0 to 2")] = 1.0
    gaze: Annotated[float, motion_amount("The pupils alone, times --expression, 0 to 2")] = 1.0
    smooth: Annotated[
        float,
        option(MOTION, "Steady a jittery driver: 0 off, 1 the most\nWithout visible lag.", min=0, max=1),
    ] = 0.0
    absolute: Annotated[
        bool,
        option(
            MOTION,
            "For a driver who is the person in the photo\n"
            "Takes the driver's keypoints as they are; the default moves the photo's own, which keeps its "
            "face shape.",
            "--absolute",
        ),
    ] = False
    adapt_scale: Annotated[
        bool,
        option(MOTION + MORE, "Motion in frame sizes, not in face sizes", "--adapt-scale/--no-adapt-scale"),
    ] = True
    stitching: Annotated[
        bool,
        option(
            MOTION + MORE,
            "LivePortrait's: neck and shoulders move, too\nBy default they stay where the photo has them.",
            "--stitching/--no-stitching",
        ),
    ] = True
    close_lips: Annotated[
        bool, option(MOTION + MORE, "LivePortrait's: closes the photo's open lips first", "--close-lips")
    ] = False
    start_frame: Annotated[
        int | None,
        option(
            MOTION + MORE,
            "The driver's frame that motion counts from, from 0\n"
            "Its pose and expression stand for the photo's (default: the closest one is searched for).",
            min=0,
        ),
    ] = None
    face: Annotated[
        int | None,
        option(FACE, "Which face of the photo, from the left [largest]\n`faceanim faces` lists them.", min=1),
    ] = None
    all_faces: Annotated[
        bool, option(FACE, "Every face of the photo, pasted back into it", "--all-faces")
    ] = False
    crop: Annotated[
        str | None,
        option(
            FACE,
            "The photo's square, x,y,w,h in pixels [found]\n"
            "none: the whole photo and the whole driver, for files that are framed alike.",
            metavar="BOX",
        ),
    ] = None
    zoom: Annotated[
        float | None,
        option(FACE, "Nearer to the face (2: twice as large), or farther", min=0.4, max=4),
    ] = None
    shift: Annotated[
        str | None,
        option(
            FACE + MORE,
            "Moves the photo's frame right and down: 0.1,-0.1\nIn sides of the frame, -1 to 1.",
            metavar="X,Y",
        ),
    ] = None
    driver_face: Annotated[
        int | None, option(FACE, "Which face of the driver, from the left [largest]", min=1)
    ] = None
    driver_crop: Annotated[
        str | None, option(FACE, "The driver's square, x,y,w,h [found]", metavar="BOX")
    ] = None
    paste_back: Annotated[
        bool, option(OUTPUT, "The whole photo with the animated face in it", "--paste-back")
    ] = False
    side_by_side: Annotated[
        bool, option(OUTPUT, "Photo, driver and result beside each other", "--side-by-side")
    ] = False
    audio: Annotated[str, option(OUTPUT, "Whose sound: driver, none, or a file's", metavar="FILE")] = "driver"
    fps: Annotated[
        str | None,
        option(
            OUTPUT,
            "Frames per second [the driver's]\n"
            "25 or exactly 30000/1001; for a folder of frames its rate [25].",
            metavar="RATE",
        ),
    ] = None
    codec: Annotated[
        str | None,
        choice(
            OUTPUT,
            "h264, hevc, vp9, av1, prores or ffv1 [h264]\nIn .webm the default is vp9.",
            ("h264", "hevc", "vp9", "av1", "prores", "ffv1"),
        ),
    ] = None
    crf: Annotated[
        int | None,
        option(
            OUTPUT + MORE,
            "Quality, 0 (lossless) to 63 (worst)\nDefault: visually lossless, 18 for h264.",
            min=0,
            max=63,
        ),
    ] = None
    loop: Annotated[
        int | None,
        option(OUTPUT + MORE, "How often a GIF or WebP plays, 0 for ever [0]", min=0, max=65535),
    ] = None
    ping_pong: Annotated[bool, option(OUTPUT + MORE, "A GIF or WebP plays there and back", "--ping-pong")] = (
        False
    )
    encoder: Annotated[
        str,
        choice(
            OUTPUT + MORE,
            "auto, software or nvenc\nauto is the NVIDIA GPU's for h264 and hevc, where that works.",
            ("auto", "software", "nvenc"),
        ),
    ] = "auto"
    watermark: Annotated[
        bool,
        option(
            OUTPUT + MORE,
            "No invisible watermark\n`faceanim verify` finds it, also in a video that was encoded anew.",
            "--watermark/--no-watermark",
        ),
    ] = True
    mark: Annotated[
        int, option(OUTPUT + MORE, "A number of yours in the watermark, 0 to 65535", min=0, max=65535)
    ] = 0
    sign: Annotated[
        bool,
        option(
            OUTPUT + MORE,
            "Sign the result with content credentials (C2PA)\n"
            "By a key that is made on first use, and links all that you sign with it; not MKV and WebM.",
            "--sign",
        ),
    ] = False
    sign_key: Annotated[
        str | None, option(OUTPUT + MORE, "Sign by this private key, PEM, of --sign-cert", metavar="FILE")
    ] = None
    sign_cert: Annotated[
        str | None, option(OUTPUT + MORE, "Its certificate and chain, PEM", metavar="FILE")
    ] = None
    overwrite: Overwrite = False
    weights: Weights = None
    device: Device = "auto"
    precision: Precision = "auto"
    batch_size: Annotated[
        int | None,
        option(
            DEVICE + MORE,
            "Frames worked on at a time [by the device]\nHalved when memory runs out.",
            min=1,
            max=1024,
        ),
    ] = None
    threads: Annotated[
        int | None, option(DEVICE + MORE, "CPU threads for the networks [all]", min=1, max=1024)
    ] = None
    compiled: Annotated[
        bool, option(DEVICE + MORE, "CUDA graphs by torch.compile, for long videos", "--compile")
    ] = False
    offline: Offline = False
    accept_license: AcceptLicense = False

    def __post_init__(self) -> None:
        """Refuse, before anything is read or loaded, what cannot be."""
        parse_crop(self.crop)
        parse_crop(self.driver_crop)
        parse_fps(self.fps)
        parse_shift(self.shift)
        check_times(self.start, self.end, self.duration)
        if self.crop is not None and (self.zoom is not None or self.shift is not None):
            raise typer.BadParameter("--zoom and --shift move the frame that is found: leave out --crop")
        if self.driver_crop is not None and self.driver_face is not None:
            raise typer.BadParameter("--driver-crop and --driver-face say which face: give one of them")
        if (self.size or 0) > 4096 and not (self.paste_back or self.all_faces):
            raise typer.BadParameter(f"--size {self.size}: at most 4096, or 8192 with --paste-back")
        if self.mark and not self.watermark:
            raise typer.BadParameter(f"--mark {self.mark} is a watermark: leave out it or --no-watermark")
        if (self.sign_key is None) != (self.sign_cert is None):
            raise typer.BadParameter("--sign-key and --sign-cert belong together: give both")
        if self.absolute and self.start_frame is not None:
            raise typer.BadParameter("--start-frame is for relative motion: leave out it or --absolute")
        ways = {"--crop": self.crop, "--face": self.face, "--all-faces": self.all_faces or None}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"{' and '.join(given)} say which face to animate: give one of them")
