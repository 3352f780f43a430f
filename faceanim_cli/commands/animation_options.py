"""Applies the flags of ``animation_flags.py``: checks inputs and outputs, builds the animator, animates."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from faceanim_cli.commands.animation_flags import AnimationFlags
from faceanim_cli.commands.options import check_replacing, find_weights
from faceanim_cli.commands.values import parse_audio, parse_crop, parse_fps, parse_shift
from faceanim_cli.files import file_sha256, file_stamp

if TYPE_CHECKING:  # torch takes seconds to import
    from faceanim_cli.animation.animator import Animator
    from faceanim_cli.animation.driver_search import Crop, Excerpt, FaceSearch
    from faceanim_cli.animation.result import AnimationResult, RenderSettings
    from faceanim_cli.batch.worker import WorkerSlot
    from faceanim_cli.live.live_photo import LivePhoto
    from faceanim_cli.pictures import Progress
    from faceanim_cli.provenance.signing import ContentSigner

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


@lru_cache(maxsize=1)
def load_signer(key: str | None, certificates: str | None) -> "ContentSigner":
    """What signs with a key and its certificates from files, or with faceanim's own, made now if need be.

    Raises:
        UsageError: c2pa-python is missing, or the key cannot sign.
    """
    from faceanim_cli.provenance.signing import ContentSigner, check_signing  # noqa: PLC0415
    from faceanim_cli.provenance.signing_key import own_signing_key, read_signing_key  # noqa: PLC0415

    check_signing()
    if key is not None and certificates is not None:
        return ContentSigner(read_signing_key(Path(key), Path(certificates)))
    return ContentSigner(own_signing_key(Path(typer.get_app_dir("faceanim")) / "signing"))


@dataclass(frozen=True)
class AnimationOptions(AnimationFlags):
    """How to animate. A new option is a field of ``AnimationFlags`` and an argument in ``animator``,
    ``render_settings`` or ``animate``.
    """

    def weights_file(self) -> Path:
        """The weights on this machine, fetched if need be; a person on the terminal is asked about terms."""
        return find_weights(self.weights or "animation", self.offline, self.accept_license)

    def signer(self) -> "ContentSigner | None":
        """What signs results, with the key that was named or faceanim's own; None where nobody asked."""
        return load_signer(self.sign_key, self.sign_cert) if self.sign or self.sign_key is not None else None

    def check_output(self, output: Path, photo: Path, driver: Path) -> None:
        """Refuse an output that cannot be written, or not so, or a key that cannot sign it."""
        self.signer()
        self.render_settings().check(output, photo, driver)

    def check_replacing(self, outputs: Sequence[Path]) -> None:
        """Refuse to replace what faceanim did not make, unless that is agreed to."""
        check_replacing(outputs, self.overwrite)

    @contextmanager
    def searching(
        self, photo: Path, driver: Path, output: Path, show_crop: Path | None
    ) -> Iterator["FaceSearch"]:
        """Look for the faces of photo and driver; the driver's beside what is done inside of the block.

        What cannot be read or written, and a photo without a face, is refused before that: before torch is
        loaded.
        """
        from faceanim_cli.animation.driver_search import (  # noqa: PLC0415
            DriverSearch,
            FaceSearch,
            crop_of_driver,
            open_driver,
        )
        from faceanim_cli.animation.pipeline import Pipeline  # noqa: PLC0415
        from faceanim_cli.faces import Framing, choose_face, search_photo  # noqa: PLC0415
        from faceanim_cli.media import check_photo, check_photo_output, read_photo  # noqa: PLC0415

        self.check_output(output, photo, driver)
        if show_crop is not None:
            check_photo_output(show_crop, photo, driver)
        self.check_replacing([output] if show_crop is None else [output, show_crop])
        check_photo(photo)
        searched, search = None, None
        with Pipeline() as pipeline, ExitStack() as opened:
            if not self._check_motion(driver):
                opener = partial(open_driver, driver, output, parse_fps(self.fps), self._excerpt)
                crop = crop_of_driver(self._photo_crop, parse_crop(self.driver_crop))
                search = DriverSearch(opener, crop, self.driver_face)
                opened.callback(search.close)
                search.begin(pipeline)
            if self._photo_crop == "auto" or isinstance(self._photo_crop, Framing):
                searched = search_photo(read_photo(photo), str(photo))
                choose_face(searched.faces, self.face, str(photo))
            yield FaceSearch(searched, search)

    def check_inputs(self, photo: Path, driver: Path) -> None:
        """Refuse, before torch is loaded, a photo or driver that cannot be read, by their headers."""
        from faceanim_cli.animation.driver_search import open_excerpt  # noqa: PLC0415
        from faceanim_cli.media import check_photo  # noqa: PLC0415

        check_photo(photo)
        if not self._check_motion(driver):
            open_excerpt(driver, parse_fps(self.fps), self._excerpt).close()

    def _check_motion(self, driver: Path) -> bool:
        """Whether a driver is a motion; one that cannot be read is refused."""
        from faceanim_cli.motion.library import is_library_motion  # noqa: PLC0415
        from faceanim_cli.motion.motion_file import MOTION_SUFFIX, read_motion  # noqa: PLC0415

        if driver.suffix.lower() == MOTION_SUFFIX and not driver.is_dir():
            read_motion(driver)
            return True
        return is_library_motion(driver)

    def for_workers(self) -> "AnimationOptions":
        """The same for processes that nobody can answer to: weights are fetched and agreed to before.

        A file of weights is named in full, since workers may run in another folder. Weights that have a name
        keep it: they may lie elsewhere on another machine.
        """
        found = self.weights_file()
        is_file = self.weights is not None and Path(self.weights).expanduser().is_file()
        weights = str(found.absolute()) if is_file else self.weights
        key, cert = (file and str(Path(file).absolute()) for file in (self.sign_key, self.sign_cert))
        return replace(self, weights=weights, accept_license=True, sign_key=key, sign_cert=cert)

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
        # Torch and the networks are a million objects that stay: looking for garbage among them again and
        # again takes a tenth of the time until the first frame.
        gc.disable()
        try:
            return self._animator(slot)
        finally:
            gc.enable()

    def _animator(self, slot: "WorkerSlot | None") -> "Animator":
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
            motion=MotionSettings(
                self.pose,
                self.expression,
                self.mouth,
                self.eyes,
                self.gaze,
                self.smooth,
                stitching=self.stitching,
                close_lips=self.close_lips,
            ),
            batch=self.batch_size,
            compiled=self.compiled,
            mark=self.mark if self.watermark else None,
        )

    @property
    def _excerpt(self) -> "Excerpt":
        """How much of the driver is taken."""
        from faceanim_cli.animation.driver_search import Excerpt  # noqa: PLC0415

        return Excerpt.between(self.start, self.end, self.duration)

    @property
    def _whole_photo(self) -> bool:
        return self.paste_back or self.all_faces

    def render_settings(self) -> "RenderSettings":
        """What the result shows and how it is written."""
        from faceanim_cli.animation.result import RenderSettings  # noqa: PLC0415
        from faceanim_cli.media import Encoding  # noqa: PLC0415

        return RenderSettings(
            Encoding(self.codec, self.crf, self.encoder, self.loop or 0, self.ping_pong),
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
        looking: Callable[[], None] = lambda: None,
        searched: "FaceSearch | None" = None,
    ) -> "AnimationResult":
        """Animate one photo with one driver into one file."""
        from faceanim_cli.animation.job import animate_file  # noqa: PLC0415

        return animate_file(
            animator,
            photo,
            driver,
            output,
            photo_crop=self._photo_crop,
            driver_crop=parse_crop(self.driver_crop),
            driver_face=self.driver_face,
            excerpt=self._excerpt,
            render=self.render_settings(),
            start_frame=self.start_frame,
            show_crop=show_crop,
            signer=self.signer(),
            progress=progress,
            looking=looking,
            searched=searched,
        )

    def live_photo(self, photo: Path) -> "LivePhoto":
        """Load the networks, and set up a photo to be animated frame by frame."""
        from faceanim_cli.animation.animated_photo import prepared_photo  # noqa: PLC0415
        from faceanim_cli.live.live_photo import LivePhoto  # noqa: PLC0415

        animator = replace(self, batch_size=1).animator()
        animated = prepared_photo(animator, photo, self._photo_crop, self.render_settings())
        return LivePhoto(animator, animated)

    @property
    def _photo_crop(self) -> "Crop":
        from faceanim_cli.faces import Framing  # noqa: PLC0415

        if self.zoom is None and self.shift is None:
            return parse_crop(self.crop)
        return Framing(self.zoom or 1.0, parse_shift(self.shift))
