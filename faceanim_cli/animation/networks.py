"""The networks made ready for a device and a precision, and what they do to a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from faceanim_cli.animation.graphs import Graphed
from faceanim_cli.weights.load import Model
from faceanim_models import FaceSuperResolver, FirstOrderModel, Keypoints, PhotoCode
from faceanim_models.blocks import cast_convolutions, fold_batch_norms

Network = TypeVar("Network", bound=nn.Module)


class Networks:
    """Batch norms folded, channels last, convolutions in ``dtype``.

    Args:
        model: as loaded: float32, evaluation mode; it is left as it is.
        resolver: super-resolution, as loaded; or None.
        device: where they run.
        dtype: float32, bfloat16 or float16.
        graphed: batches of this many frames run as CUDA graphs, which take long to make; those of another
            length, a clip's last or what little memory leaves, run as they are. 0 for none.
    """

    def __init__(
        self,
        model: Model,
        resolver: FaceSuperResolver | None,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        graphed: int = 0,
    ) -> None:
        self.loaded = (model, resolver)
        self.device, self.dtype, self.graphed = device, dtype, graphed
        self.model = self._ready(model)
        self.resolver = None if resolver is None else self._ready(resolver)
        self._graphs = (
            (Graphed(self.model.detect, self.inference), Graphed(self._paint, self.inference))
            if graphed
            else None
        )

    def exact(self) -> "Networks":
        """The same in float32."""
        return Networks(*self.loaded, self.device)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The networks by what they do: keypoints, motion, generator, and sr where there is one."""
        model = self.model
        stages: dict[str, nn.Module]
        if isinstance(model, FirstOrderModel):
            stages = {"keypoints": model.kp_detector, "motion": model.generator.dense_motion_network}
        else:
            stages = {"keypoints": model.keypoint_detector, "motion": model.dense_motion}
        stages["generator"] = model.generator
        return stages if self.resolver is None else {**stages, "sr": self.resolver}

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Everything below is called inside."""
        cast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), cast:
            yield

    def encode(self, photo: Tensor, boxes: Tensor | None) -> PhotoCode:
        """What depends on the photo (1, 3, H, W) alone; ``boxes`` (1, 4) as the keypoint detector's."""
        return self.model.encode_photo(photo, boxes=boxes)

    def detect(self, frames: Tensor, boxes: Tensor | None = None) -> Keypoints:
        """Keypoints of frames (B, 3, H, W); ``boxes`` (B, 4)."""
        if self._graphs is not None and len(frames) == self.graphed:
            return self._graphs[0](frames, boxes)
        return self.model.detect(frames, boxes)

    def paint(self, code: PhotoCode, keypoints: Keypoints) -> Tensor:
        """Frames (B, 3, H, W), or (B, 3, 2H, 2W) with super-resolution."""
        if self._graphs is not None and len(keypoints.points) == self.graphed:
            return self._graphs[1](code, keypoints)
        return self._paint(code, keypoints)

    def _paint(self, code: PhotoCode, keypoints: Keypoints) -> Tensor:
        generated, _ = self.model(code.expand(len(keypoints.points)), keypoints)
        pictures: Tensor = generated.image if self.resolver is None else self.resolver(generated.image)
        return pictures

    def _ready(self, network: Network) -> Network:
        ready: Network = fold_batch_norms(network).to(self.device).to(memory_format=torch.channels_last)
        cast_convolutions(ready, self.dtype)
        return ready


class EncodedPhoto:
    """A photo as the networks see it, encoded by those that are in use.

    Args:
        picture: (1, 3, S, S).
        boxes: of the face, (1, 4), as the keypoint detector's; or None.
        reach: (1, 1, h, w), as ``PhotoCode``'s; or None.
        networks: who encodes it first.
    """

    def __init__(
        self, picture: Tensor, boxes: Tensor | None, reach: Tensor | None, networks: Networks
    ) -> None:
        self._picture, self._boxes, self._reach = picture, boxes, reach
        self._networks, self._code = networks, self._encoded(networks)

    def code(self, networks: Networks) -> PhotoCode:
        """Encoded once, and anew when other networks ask."""
        if networks is not self._networks:
            self._networks, self._code = networks, self._encoded(networks)
        return self._code

    def _encoded(self, networks: Networks) -> PhotoCode:
        with networks.inference():
            return networks.encode(self._picture, self._boxes)._replace(reach=self._reach)


def part_of(keypoints: Keypoints, part: slice) -> Keypoints:
    """The keypoints of some frames of a batch."""
    turns = keypoints.jacobians
    return Keypoints(keypoints.points[part], None if turns is None else turns[part])
