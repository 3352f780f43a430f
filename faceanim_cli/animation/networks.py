"""The networks made ready for a device and a precision, and what they do to a batch.

On CUDA whole batches can run as CUDA graphs: a batch is one launch, not one for each of hundreds of kernels.
torch.compile makes them (``mode="reduce-overhead"``; "CUDAGraph Trees" in PyTorch's notes). Such a graph is
for one shape of its arguments. Its results lie in its own memory, where later calls overwrite them. And it
belongs to the thread that recorded it: in older torch a call from another fails, in newer it records one more
(https://github.com/pytorch/pytorch/issues/123177 and pull request 184357).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from faceanim_cli.motion.head_likeness import HeadLikeness
from faceanim_cli.motion.motion_batch import MotionBatch, join_motion
from faceanim_cli.weights.load import Model
from faceanim_models import (
    AnimationModel,
    FaceSuperResolver,
    FirstOrderModel,
    Keypoints,
    LivePortraitCode,
    LivePortraitModel,
    PhotoCode,
)
from faceanim_models.blocks import cast_convolutions, fold_batch_norms, lay_channels_last
from faceanim_models.detail_refiner import DetailRefiner, PatchCode
from faceanim_models.first_order import scaled
from faceanim_models.fused_convolutions import can_fuse, fuse_convolutions
from faceanim_models.photo_detail import high_band
from faceanim_models.thin_plate_spline import ThinPlateSplineModel

Network = TypeVar("Network", bound=nn.Module)


class Detected(NamedTuple):
    """What the networks say of a batch of driving frames."""

    motion: MotionBatch
    # (B,): how far heatmaps rise; where there is no face, half as far, or keypoints lie as on no head.
    sharpness: Tensor | None = None


class Painted(NamedTuple):
    """A batch of frames and what they are made of, as ``photo_detail.with_photo_detail`` takes it."""

    image: Tensor  # (B, 3, H, W)
    warped: Tensor  # the same
    mask: Tensor | None  # (B, 1, H, W)
    grid: Tensor  # (B, h, w, 2)

    def frames(self) -> Iterator["Painted"]:
        """Each by itself, a batch of one."""
        for number in range(len(self.image)):
            one = slice(number, number + 1)
            mask = None if self.mask is None else self.mask[one]
            yield Painted(self.image[one], self.warped[one], mask, self.grid[one])


class PhotoDetail(NamedTuple):
    """What frames larger than the networks' own show of the photo at their size."""

    band: Tensor  # (1, 3, S, S), as ``photo_detail.high_band`` makes it
    patches: list[PatchCode] | None = None  # of eyes and mouth, for networks that paint them at that size

    def patches_of(self, batch: int) -> list[PatchCode]:
        """Seen as those of ``batch`` photos, without copying."""
        return [code.expand(batch) for code in self.patches or []]


# What heatmaps' sharpness counts for where keypoints lie as on no head. Something: weights that see heads
# badly everywhere are to animate all the same.
UNLIKE_A_HEAD = 0.25

Code: TypeAlias = PhotoCode | LivePortraitCode
R = TypeVar("R", Tensor, Detected, Painted)


class Networks:
    """Batch norms folded, channels last, convolutions in ``dtype``.

    Args:
        model: as loaded: float32, evaluation mode; it is left as it is.
        resolver: loads super-resolution, when a picture first goes through it; None for pictures as they are.
        device: where they run.
        dtype: float32, bfloat16 or float16.
        fused: on a CPU, convolutions run with what follows them, where that works: see ``fuse_convolutions``.
        graphed: batches of this many frames run as CUDA graphs, which take long to make; those of another
            length, a clip's last or what little memory leaves, run as they are. 0 for none.
    """

    def __init__(
        self,
        model: Model,
        resolver: Callable[[], FaceSuperResolver] | None,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        graphed: int = 0,
        *,
        fused: bool = True,
    ) -> None:
        self.loaded = (model, resolver)
        self.device, self.dtype, self.graphed = device, dtype, graphed
        self._fused = fused and device.type == "cpu" and can_fuse(dtype)
        self.model = self._ready(model)
        anchors = getattr(model.settings, "anchors", ())
        self._likeness = HeadLikeness(anchors).to(device) if anchors else None
        self._resolver: FaceSuperResolver | None = None
        self._loading = Lock()
        self._graphs = (
            (
                CudaGraphed(self._detect, self.inference),
                CudaGraphed(self._paint, self.inference),
                CudaGraphed(self._paint_parts, self.inference),
            )
            if graphed
            else None
        )

    def exact(self) -> "Networks":
        """The same in float32, by torch's public operators alone."""
        return Networks(*self.loaded, self.device, fused=False)

    @property
    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The networks by what they do: keypoints, motion, generator, and sr where there is one."""
        model = self.model
        stages: dict[str, tuple[nn.Module | None, ...]]
        if isinstance(model, FirstOrderModel):
            stages = {"keypoints": (model.kp_detector,), "motion": (model.generator.dense_motion_network,)}
            stages["generator"] = (model.generator,)
        elif isinstance(model, ThinPlateSplineModel):
            stages = {"keypoints": (model.kp_detector,), "motion": (model.dense_motion_network,)}
            stages["generator"] = (model.inpainting_network,)
        elif isinstance(model, LivePortraitModel):
            stages = {"keypoints": (model.motion,), "motion": (model.warping,)}
            stages["generator"] = (model.generator,)
        else:
            stages = {"keypoints": (model.keypoint_detector, model.free_keypoints)}
            stages["motion"] = (model.dense_motion,)
            # The refiner of larger results by its networks: on a CPU frames do not pass its forward.
            large = () if model.large_details is None else model.large_details.networks
            stages["generator"] = (model.generator, model.details, *large)
        resolver = self.load_resolver()
        if resolver is not None:
            stages["sr"] = (resolver,)
        return {name: tuple(part for part in parts if part is not None) for name, parts in stages.items()}

    def load_resolver(self) -> FaceSuperResolver | None:
        """Super-resolution, loaded once; photos that show their own detail never ask for it."""
        _, load = self.loaded
        with self._loading:
            if self._resolver is None and load is not None:
                self._resolver = self._ready(load())
        return self._resolver

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Everything below is called inside."""
        cast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), cast:
            yield

    def encode(self, photo: Tensor, reach: Tensor | None) -> Code:
        """What depends on the photo (1, 3, H, W) alone.

        Args:
            photo: in [0, 1].
            reach: as ``PhotoCode``'s; LivePortrait's motion keeps the border still by itself.
        """
        if isinstance(self.model, LivePortraitModel):
            return self.model.encode_photo(photo)
        return self.model.encode_photo(photo)._replace(reach=reach)

    def photo_detail(self, large: Tensor, code: PhotoCode) -> PhotoDetail:
        """What of the photo as large as the results, (1, 3, S, S) in [0, 1], they show."""
        refiner = self.large_details
        patches = None if refiner is None else refiner.encode(large, code.keypoints.float())
        return PhotoDetail(high_band(large, self.model.settings.image_size), patches)

    @property
    def large_details(self) -> DetailRefiner | None:
        """Paints eyes and mouth of frames larger than the networks' own; None of networks without it."""
        return self.model.large_details if isinstance(self.model, AnimationModel) else None

    def keypoints(self, frames: Tensor) -> Tensor:
        """(B, K, 2) in [-1, 1] of frames (B, 3, H, W): where each shows its own face's keypoints."""
        if isinstance(self.model, LivePortraitModel):
            return self.model.motion(frames).keypoints()[..., :2]  # type: ignore[no-any-return]
        return self.model.detect(frames).points

    def detect(self, frames: Tensor) -> Detected:
        """The motion in frames (B, 3, H, W)."""
        if self._graphs is not None and len(frames) == self.graphed:
            return self._graphs[0](frames)
        return self._detect(frames)

    def paint(self, code: Code, keypoints: Keypoints) -> Tensor:
        """Frames (B, 3, H, W), twice as large from LivePortrait's networks and with super-resolution."""
        self.load_resolver()  # before a graph is made
        if self._graphs is not None and len(keypoints.points) == self.graphed:
            return self._graphs[1](code, keypoints)
        return self._paint(code, keypoints)

    def paint_parts(self, code: PhotoCode, keypoints: Keypoints) -> Painted:
        """Frames without super-resolution, and what they are made of; not of LivePortrait's networks."""
        if self._graphs is not None and len(keypoints.points) == self.graphed:
            return self._graphs[2](code, keypoints)
        return self._paint_parts(code, keypoints)

    def _detect(self, frames: Tensor) -> Detected:
        if isinstance(self.model, LivePortraitModel):
            return Detected(self.model.detect(frames))
        if not isinstance(self.model, AnimationModel):  # other detectors tell nothing of the kind
            return Detected(self.model.detect(frames))
        kept: list[Tensor] = []
        keypoints = self.model.detect(frames, kept)
        if not kept:
            return Detected(keypoints)
        logits = kept[0].flatten(2)
        sharpness = (logits.amax(-1) - logits.mean(-1)).mean(-1)
        if self._likeness is not None:  # text makes heatmaps sharper than any face
            with torch.autocast(self.device.type, enabled=False):
                head = self._likeness(keypoints.points)
            sharpness = torch.where(head, sharpness, UNLIKE_A_HEAD * sharpness)
        return Detected(keypoints, sharpness)

    def _paint(self, code: Code, keypoints: Keypoints) -> Tensor:
        pictures: Tensor
        codes = code.expand(len(keypoints.points))
        if isinstance(self.model, LivePortraitModel):
            pictures, _ = self.model(codes, keypoints.points)
        else:
            pictures = self.model(codes, keypoints)[0].image
        return pictures if self._resolver is None else self._resolver(pictures)

    def _paint_parts(self, code: PhotoCode, keypoints: Keypoints) -> Painted:
        generated, motion = self.model(code.expand(len(keypoints.points)), keypoints)
        grid = motion.grid
        if isinstance(self.model, FirstOrderModel):  # which enlarges grids in a way of its own
            grid = scaled(grid.permute(0, 3, 1, 2), *generated.image.shape[-2:]).permute(0, 2, 3, 1)
        return Painted(generated.image, generated.warped, getattr(generated, "mask", None), grid)

    def _ready(self, network: Network) -> Network:
        ready: Network = fold_batch_norms(network)
        if self._fused:
            ready = fuse_convolutions(ready)
        ready = ready.to(self.device)
        lay_channels_last(ready)
        cast_convolutions(ready, self.dtype)
        return ready


def motion_of(code: Code) -> MotionBatch:
    """The photo's own motion, a batch of one."""
    if isinstance(code, LivePortraitCode):
        return code.motion
    return Keypoints(code.keypoints, code.jacobians, code.free)


def join_detected(batches: Sequence[Detected]) -> Detected:
    """Several batches as one."""
    sharpness = [batch.sharpness for batch in batches if batch.sharpness is not None]
    motion = join_motion([batch.motion for batch in batches])
    return Detected(motion, torch.cat(sharpness) if sharpness else None)


class CudaGraphed(Generic[R]):
    """A function that runs as a CUDA graph, in the one thread that this process has for them.

    Args:
        function: of tensors and named tuples of them, of one device.
        inside: entered for each call: inference mode and autocast are a thread's own.
    """

    def __init__(
        self, function: Callable[..., R], inside: Callable[[], AbstractContextManager[None]]
    ) -> None:
        # Kernels for the shapes that come; from the second on torch would make slower ones for any.
        self._function: Callable[..., R] = torch.compile(function, mode="reduce-overhead", dynamic=False)
        self._inside = inside

    def __call__(self, *arguments: object) -> R:
        return graph_thread().submit(self._run, *arguments).result()

    def _run(self, *arguments: object) -> R:
        with self._inside():
            torch.compiler.cudagraph_mark_step_begin()  # results of earlier calls may be overwritten
            result: R = _cloned(self._function(*arguments))
            return result


def _cloned(result: Any) -> Any:
    """A tensor, or a named tuple of tensors and of such, in memory of its own."""
    if isinstance(result, tuple):
        return type(result)(*map(_cloned, result))
    return None if result is None else result.clone()


@cache
def graph_thread() -> ThreadPoolExecutor:
    """Runs all graphs of this process."""
    return ThreadPoolExecutor(1, "faceanim-graphs")
