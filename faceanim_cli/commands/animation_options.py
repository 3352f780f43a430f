"""The options of an animation, shared by all commands that animate: declared once, applied once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    confirm_on_terminal,
    option,
)
from faceanim_cli.commands.results import check_replacing
from faceanim_cli.commands.values import parse_audio, parse_crop, parse_fps
from faceanim_cli.files import file_sha256, file_stamp
from faceanim_cli.media.own_files import is_ours

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.animation.animator import Animator
    from faceanim_cli.animation.result import AnimationResult, RenderSettings
    from faceanim_cli.batch.worker import WorkerSlot
    from faceanim_cli.pictures import Progress

NOT_OF_THE_RESULT = {
    "weights",
    "device",
    "batch_size",
    "compiled",
    "threads",
    "offline",
    "accept_license",
    "overwrite",
}
"""Options that say where and whether the work is done; weights count by their content."""


def how_much(text: str) -> Any:
    """An option for how much of a motion is taken on."""
    return option(MOTION, text, min=0, max=2)


@dataclass(frozen=True)
class AnimationOptions:
    """How to animate. A new option is a field here and an argument in ``animator`` or ``animate``.

    Plain values only: a batch sends it to its workers.
    """

    sr: Annotated[bool, option(BASICS, "No super-resolution: 256 x 256, twice as fast", "--sr/--no-sr")] = (
        True
    )
    size: Annotated[
        int | None,
        option(
            BASICS,
            "Side in pixels, 16 to 8192 [512; 256 with --no-sr]\n"
            "Of a whole photo its longer side (default: the photo's own, up to 2560).",
            min=16,
            max=8192,
        ),
    ] = None
    pose: Annotated[float, how_much("The head's motion: 0 none, 1 all, 2 twice as much")] = 1.0
    expression: Annotated[float, how_much("The motion of mouth, lids and brows, 0 to 2")] = 1.0
    mouth: Annotated[float, how_much("The mouth's alone, times --expression, 0 to 2")] = 1.0
    eyes: Annotated[float, how_much("The lids' alone, times --expression, 0 to 2")] = 1.0
    gaze: Annotated[float, how_much("The pupils' alone, times --expression, 0 to 2")] = 1.0
    smooth: Annotated[
        float,
        option(MOTION, "Steady a jittery driver: 0 off, 1 the most\nWithout visible lag.", min=0, max=1),
    ] = 0.0
    absolute: Annotated[
        bool,
        option(
            MOTION,
            "Photo and driver show the same person\n"
            "Takes the driver's keypoints as they are; the default moves the photo's own, which keeps its "
            "face shape.",
            "--absolute",
        ),
    ] = False
    adapt_scale: Annotated[
        bool,
        option(MOTION + MORE, "Motion in frame sizes, not in face sizes", "--adapt-scale/--no-adapt-scale"),
    ] = True
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
        str | None, option(FACE, "The photo's frame, x,y,w,h in pixels [found]", metavar="BOX")
    ] = None
    driver_crop: Annotated[str | None, option(FACE, "The driver's frame [found]", metavar="BOX")] = None
    paste_back: Annotated[
        bool, option(OUTPUT, "The whole photo with the animated face in it", "--paste-back")
    ] = False
    side_by_side: Annotated[bool, option(OUTPUT, "Photo and driver left of the result", "--side-by-side")] = (
        False
    )
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
            "h264, hevc, vp9, av1, prores or ffv1\nDefault: h264, in .webm vp9.",
            ("h264", "hevc", "vp9", "av1", "prores", "ffv1"),
        ),
    ] = None
    crf: Annotated[
        int | None,
        option(
            OUTPUT,
            "Quality, 0 (lossless) to 63 (worst)\nDefault: visually lossless, 18 for h264.",
            min=0,
            max=63,
        ),
    ] = None
    encoder: Annotated[
        str,
        choice(
            OUTPUT + MORE,
            "auto, software or nvenc\nauto is the NVIDIA GPU's for h264 and hevc, where that works.",
            ("auto", "software", "nvenc"),
        ),
    ] = "auto"
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
        if self.absolute and self.start_frame is not None:
            raise typer.BadParameter("--start-frame is for relative motion: leave out it or --absolute")
        ways = {"--crop": self.crop, "--face": self.face, "--all-faces": self.all_faces or None}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"{' and '.join(given)} say which face to animate: give one of them")

    def weights_file(self) -> Path:
        """The weights on this machine, fetched if need be; a person on the terminal is asked about terms."""
        from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

        return resolve_weights(
            self.weights or "animation",
            offline=self.offline,
            accept_license=self.accept_license,
            confirm=confirm_on_terminal(),
        )

    def check_output(self, output: Path, photo: Path, driver: Path) -> None:
        """Refuse an output that cannot be written, or not so."""
        self.render_settings().check(output, photo, driver)

    def check_replacing(self, outputs: Sequence[Path]) -> None:
        """Refuse to replace what faceanim did not make, unless that is agreed to."""
        check_replacing(outputs, self.overwrite, is_ours)

    def for_workers(self) -> "AnimationOptions":
        """The same for processes that nobody can answer to: weights are fetched and agreed to before.

        A file of weights is named in full, since workers may run in another folder. Weights that have a name
        keep it: they may lie elsewhere on another machine.
        """
        found = self.weights_file()
        is_file = self.weights is not None and Path(self.weights).expanduser().is_file()
        weights = str(found.absolute()) if is_file else self.weights
        return replace(self, weights=weights, accept_license=True)

    def given(self) -> dict[str, Any]:
        """The options that make a difference to the result and are not the default, but for weights."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {
            field.name: values[field.name]
            for field in fields(self)
            if values[field.name] != field.default and field.name not in NOT_OF_THE_RESULT
        }
        sound = parse_audio(self.audio)
        if isinstance(sound, Path) and sound.is_file():
            given["audio"] = file_stamp(sound)
        return given

    def result_settings(self) -> dict[str, Any]:
        """What results depend on besides photo and driver: options, and the content of the weights."""
        from faceanim_cli.weights.records import recorded_sha256  # noqa: PLC0415

        weights = self.weights_file()
        return {**self.given(), "weights_sha256": recorded_sha256(weights) or file_sha256(weights)}

    def animator(self, slot: "WorkerSlot | None" = None) -> "Animator":
        """Load the networks, into a part of the machine if it has several workers."""
        from faceanim_cli.animation.animator import Animator  # noqa: PLC0415
        from faceanim_cli.device import limit_threads, share_machine  # noqa: PLC0415
        from faceanim_cli.motion.settings import MotionSettings  # noqa: PLC0415

        if self.threads is not None:
            limit_threads(self.threads)
        return Animator(
            self.weights_file(),
            self.device if slot is None else share_machine(self.device, slot.worker, slot.workers),
            self.precision,
            relative=not self.absolute,
            adapt_scale=self.adapt_scale,
            sr=self.sr,
            size=None if self._whole_photo else self.size,
            motion=MotionSettings(self.pose, self.expression, self.mouth, self.eyes, self.gaze, self.smooth),
            batch=self.batch_size,
            compiled=self.compiled,
        )

    @property
    def _whole_photo(self) -> bool:
        return self.paste_back or self.all_faces

    def render_settings(self) -> "RenderSettings":
        """What the result shows and how it is written."""
        from faceanim_cli.animation.result import RenderSettings  # noqa: PLC0415
        from faceanim_cli.media import Encoding  # noqa: PLC0415

        return RenderSettings(
            Encoding(self.codec, self.crf, self.encoder),
            parse_fps(self.fps),
            parse_audio(self.audio),
            paste_back=self.paste_back,
            face=self.face,
            all_faces=self.all_faces,
            longest_side=self.size if self._whole_photo else None,
            side_by_side=self.side_by_side,
        )

    def animate(
        self,
        animator: "Animator",
        photo: Path,
        driver: Path,
        output: Path,
        progress: "Progress | None" = None,
        show_crop: Path | None = None,
    ) -> "AnimationResult":
        """Animate one photo with one driver into one file."""
        from faceanim_cli.animation.job import animate_file  # noqa: PLC0415

        return animate_file(
            animator,
            photo,
            driver,
            output,
            photo_crop=parse_crop(self.crop) or "auto",
            driver_crop=parse_crop(self.driver_crop) or "auto",
            render=self.render_settings(),
            start_frame=self.start_frame,
            show_crop=show_crop,
            progress=progress,
        )
