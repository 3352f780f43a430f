"""The options of an animation, shared by all commands that animate: declared once, applied once."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceanim_cli.commands.options import parse_audio, parse_crop, parse_fps
from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import ProgressCallback

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.animation.animator import Animator
    from faceanim_cli.animation.result import AnimationResult, RenderSettings
    from faceanim_cli.batch.worker import WorkerSlot


@dataclass(frozen=True)
class AnimationOptions:
    """How to animate. A new option is a field here and an argument in ``animator`` or ``animate``.

    Plain values only: a batch sends it to its workers.
    """

    absolute: Annotated[
        bool,
        typer.Option(
            "--absolute",
            help="Take the driver's keypoints as they are; for photo and driver of one person. The default "
            "moves the photo's own keypoints, which keeps its face shape.",
        ),
    ] = False
    adapt_scale: Annotated[
        bool, typer.Option(help="Measure motion in face sizes rather than in frame sizes.")
    ] = True
    pose: Annotated[
        float,
        typer.Option(min=0, max=2, help="How much of the head's motion: 0 none, 1 all, 2 twice as much."),
    ] = 1.0
    expression: Annotated[
        float, typer.Option(min=0, max=2, help="How much of the face's motion: mouth, lids and brows.")
    ] = 1.0
    mouth: Annotated[
        float, typer.Option(min=0, max=2, help="How much of the mouth's motion, times --expression.")
    ] = 1.0
    eyes: Annotated[
        float, typer.Option(min=0, max=2, help="How much of the lids' motion, times --expression.")
    ] = 1.0
    smooth: Annotated[
        float, typer.Option(min=0, max=1, help="Steady a jittery driver; 1 is the most, without visible lag.")
    ] = 0.0
    start_frame: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The driver's frame, counted from 0, whose pose and expression stand for the photo's "
            "(default: the closest one is searched for).",
        ),
    ] = None
    sr: Annotated[bool, typer.Option("--sr/--no-sr", help="Super-resolution: twice the size.")] = True
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=8192,
            help="Side of the result in pixels (default: 512, or 256 with --no-sr); of a whole photo the "
            "longer side (default: the photo's own, up to 2560).",
        ),
    ] = None
    paste_back: Annotated[
        bool, typer.Option("--paste-back", help="Give the whole photo with the animated face in it.")
    ] = False
    face: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Which face of the photo, counted from the left; `faceanim faces` shows them (default: the "
            "largest).",
        ),
    ] = None
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Animate every face of the photo, pasted back into it.")
    ] = False
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Show photo and driver left of the result.")
    ] = False
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="A name of `faceanim weights list`, a file, or user/repo[@revision] on the Hub "
            "(default: the shipped weights).",
        ),
    ] = None
    crop: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="The photo's frame in pixels, instead of detection.")
    ] = None
    driver_crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="The driver's frame in pixels, instead of detection."),
    ] = None
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Frames per second, 25 or exactly 30000/1001 (default: the driver's; for a folder of frames "
            "25).",
        ),
    ] = None
    audio: Annotated[str, typer.Option(metavar="driver|none|FILE", help="Whose sound the result has.")] = (
        "driver"
    )
    codec: Annotated[
        str | None,
        typer.Option(help="h264, hevc, vp9, av1, prores or ffv1 (default: h264, in .webm vp9)."),
    ] = None
    crf: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=63,
            help="Quality of the encoding, 0 is lossless (default: visually lossless, 18 for h264).",
        ),
    ] = None
    encoder: Annotated[
        str,
        typer.Option(
            help="auto, software or nvenc; auto is the NVIDIA GPU's for h264 and hevc, where that works."
        ),
    ] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16; a half that shows falls back to fp32.")
    ] = "auto"
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Frames worked on at a time (default: what suits the device; halved if need be).",
        ),
    ] = None
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Run whole batches as CUDA graphs, made by torch.compile: for long videos."
        ),
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

    def for_workers(self) -> "AnimationOptions":
        """The same for processes that nobody can answer to: weights are fetched and agreed to before.

        A file of weights is named in full, since workers may run in another folder. Weights that have a name
        keep it: they may lie elsewhere on another machine.
        """
        found = self.weights_file()
        is_file = self.weights is not None and Path(self.weights).expanduser().is_file()
        weights = str(found.absolute()) if is_file else self.weights
        return replace(self, weights=weights, accept_license=True)

    def animator(self, slot: "WorkerSlot | None" = None) -> "Animator":
        """Load the networks, into a part of the machine if it has several workers."""
        from faceanim_cli.animation.animator import Animator  # noqa: PLC0415
        from faceanim_cli.device import share_machine  # noqa: PLC0415
        from faceanim_cli.motion.settings import MotionSettings  # noqa: PLC0415

        return Animator(
            self.weights_file(),
            self.device if slot is None else share_machine(self.device, slot.worker, slot.workers),
            self.precision,
            relative=not self.absolute,
            adapt_scale=self.adapt_scale,
            sr=self.sr,
            size=None if self._whole_photo else self.size,
            motion=MotionSettings(self.pose, self.expression, self.mouth, self.eyes, self.smooth),
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
        progress: ProgressCallback | None = None,
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
