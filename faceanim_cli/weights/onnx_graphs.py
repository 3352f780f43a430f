"""The animation networks as three ONNX graphs: what is worked out once of a photo, the keypoints of driving
frames, and the frames that are painted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.errors import FaceanimError
from faceanim_models import AnimationModel, FaceSuperResolver, Keypoints, PhotoCode
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.detail_refiner import PatchCode

OPSET = 18  # GridSample, which warps, is there since 16
MOST_DIFFERENCE = 1e-3  # between onnxruntime and torch, of any number that a graph gives

ABOUT = {  # by the tensor's name without its number
    "photo": "the photo's crop, RGB in [0, 1]",
    "frames": "RGB in [0, 1]",
    "keypoints": "x, y of each keypoint in [-1, 1], the anchored ones first",
    "photo_keypoints": "x, y of each keypoint of the photo, in [-1, 1]",
    "thumbnail": "the photo, small",
    "features": "features of the photo at 1/2, 1/4 and 1/8 of its size",
    "head_maps": "which pixels of the photo are the head's; the first map is a logit",
    "patches": "the photo around its eyes or its mouth, 2 x 2 pixels in 12 channels",
    "patch_points": "heatmaps of the photo's keypoints in those patches",
}


@dataclass(frozen=True)
class Graph:
    """One of the three, and what it is traced with."""

    name: str
    about: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Sequence[int]]  # their shapes
    batched: Sequence[str]  # inputs and outputs with any number of rows
    rows: str  # what a row is


class _Photo(nn.Module):
    def __init__(self, model: AnimationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, photo: Tensor) -> tuple[Tensor, ...]:
        return tuple(_tensors(self.model.encode_photo(photo)).values())


class _Motion(nn.Module):
    def __init__(self, model: AnimationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        return _joined(self.model.detect(frames))


class _Generator(nn.Module):
    def __init__(self, model: AnimationModel, resolver: FaceSuperResolver | None) -> None:
        super().__init__()
        self.model, self.resolver = model, resolver

    def forward(self, photo: Tensor, keypoints: Tensor, code: dict[str, Tensor]) -> Tensor:
        known = self.model.settings.keypoints.num_keypoints
        free = None if self.model.free_keypoints is None else keypoints[:, known:]
        expanded = _code(photo, code, known).expand(keypoints.shape[0])
        generated, _ = self.model(expanded, Keypoints(keypoints[:, :known], free=free))
        image: Tensor = generated.image
        return image.clamp(0, 1) if self.resolver is None else self.resolver(image)


def build_graphs(model: AnimationModel, resolver: FaceSuperResolver | None) -> list[Graph]:
    """The graphs of a model as loaded, photo's first.

    Args:
        model: float32; it is left as it is.
        resolver: frames go through it at last and are twice as large; None for none.
    """
    model = fold_batch_norms(model)
    resolver = None if resolver is None else fold_batch_norms(resolver)
    size = model.settings.image_size
    photo, frames = example_pictures(1, size), example_pictures(2, size)
    with torch.no_grad():
        code, keypoints = _tensors(model.encode_photo(photo)), _joined(model.detect(frames))
    names = tuple(code)
    side = size * (1 if resolver is None else resolver.SCALE)
    return [
        Graph(
            "photo",
            "Once for a photo: what depends on it alone.",
            _Photo(model),
            {"photo": frames},
            {name: tensor.shape for name, tensor in code.items()},
            ("photo", *names),
            "photos",
        ),
        Graph(
            "motion",
            "For driving frames: their keypoints.",
            _Motion(model),
            {"frames": frames},
            {"keypoints": keypoints.shape},
            ("frames", "keypoints"),
            "frames",
        ),
        Graph(
            "generator",
            "Frames of one photo: its person with the keypoints given.",
            _Generator(model, resolver),
            {"photo": photo, "keypoints": keypoints, **code},
            {"frames": (2, 3, side, side)},
            ("keypoints", "frames"),
            "frames",
        ),
    ]


def write_graph(graph: Graph, path: Path, metadata: Mapping[str, str]) -> None:
    """Write one as an ONNX file, weights inside; of this machine it tells nothing.

    Raises:
        FaceanimError: torch cannot translate it.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass  # noqa: PLC0415 (an extra's)

    dimension = torch.export.Dim(graph.rows)
    shapes = {name: {0: dimension} if name in graph.batched else None for name in graph.inputs}
    try:
        program = torch.onnx.export(
            graph.module.eval(),
            kwargs=_arguments(graph.inputs),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=_arguments(shapes),
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise FaceanimError(
            f"torch {torch.__version__} cannot export {graph.name}.onnx; --debug tells why"
        ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # where in whose folders each line of code lies
    program.model.graph.name = f"faceanim_{graph.name}"
    program.model.doc_string = graph.about
    program.model.metadata_props.update(metadata)
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        value.doc_string = about(value.name or "")
    program.save(path, external_data=False)


def compare(graphs: Sequence[Graph], folder: Path) -> float:
    """How far what onnxruntime makes of the files is from what torch makes of the networks, at most.

    Three photos, one, and three driving frames and one are gone through.

    Raises:
        FaceanimError: more than ``MOST_DIFFERENCE``, or not a number.
    """
    from onnxruntime import InferenceSession  # noqa: PLC0415 (an extra's)

    largest = 0.0
    for graph in graphs:
        session = InferenceSession(folder / f"{graph.name}.onnx", providers=["CPUExecutionProvider"])
        for count in (1, 3):
            inputs = {
                name: _rows(t, count) if name in graph.batched else t for name, t in graph.inputs.items()
            }
            with torch.no_grad():
                wanted = graph.module(**_arguments(inputs))
            found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
            for a, b in zip(found, [wanted] if isinstance(wanted, Tensor) else wanted, strict=True):
                difference = float((torch.from_numpy(a) - b).abs().max())
                if not difference <= MOST_DIFFERENCE:
                    raise FaceanimError(
                        f"{graph.name}.onnx differs from the network by {difference:.2g}; nothing was written"
                    )
                largest = max(largest, difference)
    return largest


def about(name: str) -> str:
    """What a tensor is."""
    return ABOUT[name.rstrip("0123456789").rstrip("_")]


def example_pictures(count: int, size: int) -> Tensor:
    """Pictures (count, 3, size, size) in [0, 1] as smooth as photos are, the same in every run."""
    rough = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(rough, (size, size), mode="bicubic").clamp(0, 1)


def _arguments(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Of a graph's module: the third input and those that follow are one."""
    items = list(inputs.items())
    return dict(items[:2]) | ({"code": dict(items[2:])} if items[2:] else {})


def _rows(tensor: Tensor, count: int) -> Tensor:
    """As many rows as that, repeated if need be."""
    return tensor.repeat(-(-count // len(tensor)), *[1] * (tensor.ndim - 1))[:count].contiguous()


def _tensors(code: PhotoCode) -> dict[str, Tensor]:
    """What a photo's code consists of, but for the photo itself, by the names that graphs use."""
    keypoints = _joined(Keypoints(code.keypoints, free=code.free))
    tensors = {"thumbnail": code.thumbnail, "photo_keypoints": keypoints}
    tensors |= {f"features_{n}": features for n, features in enumerate(code.features, 1)}
    if code.maps is not None:
        tensors["head_maps"] = code.maps
    for n, patches in enumerate(code.details or [], 1):
        tensors |= {f"patches_{n}": patches.pixels, f"patch_points_{n}": patches.heatmaps}
    return tensors


def _joined(keypoints: Keypoints) -> Tensor:
    """The anchored ones and then the free ones, (B, K + F, 2)."""
    return (
        keypoints.points if keypoints.free is None else torch.cat((keypoints.points, keypoints.free), dim=1)
    )


def _code(photo: Tensor, tensors: Mapping[str, Tensor], known: int) -> PhotoCode:
    """The code again; ``known`` of its keypoints are anchored."""
    keypoints = tensors["photo_keypoints"]
    patches = [
        PatchCode(*pair)
        for pair in zip(_all(tensors, "patches_"), _all(tensors, "patch_points_"), strict=True)
    ]
    return PhotoCode(
        photo,
        tensors["thumbnail"],
        keypoints[:, :known],
        list(_all(tensors, "features_")),
        maps=tensors.get("head_maps"),
        details=patches or None,
        free=keypoints[:, known:] if keypoints.shape[1] > known else None,
    )


def _all(tensors: Mapping[str, Tensor], start: str) -> Iterator[Tensor]:
    return (tensor for name, tensor in tensors.items() if name.startswith(start))
