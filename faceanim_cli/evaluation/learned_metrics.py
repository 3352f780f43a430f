"""Metrics by networks (landmark detectors, LPIPS, FID, identity), loaded when they are needed."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.landmarks import NUM_LANDMARKS, NUM_POINTS, Anchors
from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.evaluation.frames import Batch, Distance, Embed
from faceanim_cli.image_metrics import Picture, as_bytes, as_unit
from faceanim_cli.pictures import Image, Points

IDENTITY_SIDE = 112  # pixels: what ArcFace networks take
# What torchvision and torch-fidelity fetch, into the "checkpoints" of torch.hub.get_dir().
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
SCRIPT_SUFFIXES = frozenset({".pt", ".ts", ".jit", ".torchscript"})


def csim(batch: Batch) -> dict[str, list[float]]:
    """Cosine of identity embeddings, result and photo: higher is better, -1 to 1 (Ha et al. 2020)."""
    results, source = (torch.from_numpy(frames.embeddings) for frames in (batch.results, batch.source))
    return {"csim": F.cosine_similarity(results, source, dim=-1, eps=1e-12).tolist()}


def lpips(batch: Batch) -> dict[str, list[float]]:
    """Learned perceptual distance, AlexNet: lower is better, from 0, mostly below 1 (Zhang et al. 2018)."""
    assert batch.networks.lpips is not None
    return {"lpips": batch.networks.lpips([*batch.results.pictures], [*batch.driving.pictures])}


class KeypointLandmarks:
    """The keypoint detector of animation weights; where they are those under test, akd flatters them."""

    independent = False

    def __init__(self, animator: Animator, name: str) -> None:
        self.name, self.path = name, animator.weights
        self.anchors: Anchors = animator.anchors
        self._animator = animator

    def __call__(self, frames: list[Image]) -> Points:
        height, width = frames[0].shape[:2]
        points = self._animator.keypoints(frames).astype(np.float64)
        return np.asarray((points + 1) / 2 * np.array([width - 1, height - 1]))


class ScriptedLandmarks:
    """A TorchScript file that maps frames (B, 3, H, W), RGB in [0, 1], to points (B, K, 2) in [-1, 1].

    68 points are taken for the usual facial landmarks, 70 for these and the pupils of the picture's left and
    right eye, 80 for all that data may know.

    Raises:
        WeightsError: no such file, not TorchScript, or it gives something else.
    """

    independent = True

    def __init__(self, path: Path, device: torch.device) -> None:
        self.name, self.path = path.name, path
        self._network, self._device = load_script(path, device), device
        count = self([np.zeros((64, 64, 3), np.uint8)]).shape[1]
        known = count in (NUM_LANDMARKS, NUM_LANDMARKS + 2, NUM_POINTS)
        self.anchors: Anchors = tuple((i,) for i in range(NUM_LANDMARKS)) if known else ()

    @torch.inference_mode()
    def __call__(self, frames: list[Image]) -> Points:
        height, width = frames[0].shape[:2]
        points = self._network(_tensor(frames).float().to(self._device))
        if points.ndim != 3 or points.shape[-1] != 2 or len(points) != len(frames):
            raise WeightsError(f"{self.name}: a landmark network gives (B, K, 2), x and y in [-1, 1]")
        return np.asarray((points.double().cpu().numpy() + 1) / 2 * np.array([width - 1, height - 1]))


def load_identity(path: Path, device: torch.device) -> Embed:
    """A TorchScript network from faces (B, 3, 112, 112), RGB in [-1, 1], to embeddings (B, D).

    Frames are resized whole: what the network wants beyond that, such as alignment, belongs into the script.

    Raises:
        WeightsError: no such file, or not TorchScript.
    """
    network = load_script(path, device)

    @torch.inference_mode()
    def embed(frames: list[Image]) -> npt.NDArray[np.floating[Any]]:
        side = (IDENTITY_SIDE, IDENTITY_SIDE)
        small = [
            np.asarray(cv2.resize(frame, side, interpolation=cv2.INTER_AREA), np.uint8) for frame in frames
        ]
        embeddings = network((2 * _tensor(small).float() - 1).to(device))
        if embeddings.ndim < 2 or len(embeddings) != len(frames):
            raise WeightsError(f"{path}: an identity network gives (B, D), an embedding for each face")
        return np.asarray(embeddings.double().flatten(1).cpu().numpy())

    return embed


def load_script(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A TorchScript network in evaluation mode, which raises WeightsError where it fails.

    Raises:
        WeightsError: no such file, or not TorchScript.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a TorchScript network (torch.jit.save)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export's files
            load: Any = torch.jit.load
            network = load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: not a TorchScript network; make one with torch.jit.save") from error
    network.eval()

    def run(pictures: Tensor) -> Tensor:
        try:
            result = network(pictures)
        except RuntimeError as error:
            shape = tuple(pictures.shape)
            raise WeightsError(f"{path}: cannot compute pictures {shape} ({_last_line(error)})") from error
        if not isinstance(result, Tensor):
            raise WeightsError(f"{path}: gives {type(result).__name__} instead of a tensor")
        return result

    return run


def load_lpips(device: torch.device, offline: bool = False) -> Distance:
    """LPIPS with AlexNet. torchvision fetches AlexNet's weights once, 233 MB; torchmetrics carries the rest.

    Args:
        offline: fetch nothing.

    Raises:
        WeightsError: they are not here, and cannot or may not be fetched.
    """
    with _fetching("lpips", "AlexNet's weights", ALEXNET_FILE, "233 MB, fetched by torchvision", offline):
        metric = LearnedPerceptualImagePatchSimilarity("alex", normalize=True).to(device)

    @torch.inference_mode()
    def distance(results: list[Picture], truths: list[Picture]) -> list[float]:
        values = []
        for result, truth in zip(results, truths, strict=True):
            pair = [_tensor([picture]).float().clamp(0, 1).to(device) for picture in (result, truth)]
            values.append(float(metric(*pair)))
        metric.reset()
        return values

    return distance


class FrechetDistances:
    """FID of each subject's frames to the true frames, gathered over all clips.

    Args:
        subjects: their names.
        device: where Inception runs.
        offline: fetch nothing.
        features: another network than Inception-v3, for tests: uint8 (B, 3, H, W) to (B, D).

    Raises:
        UsageError: the package torch-fidelity is missing.
        WeightsError: Inception's weights are not here, and cannot or may not be fetched.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        device: torch.device,
        features: nn.Module | None = None,
        offline: bool = False,
    ) -> None:
        how = "91 MB, fetched by torch-fidelity"
        try:
            with _fetching("fid", "Inception-v3's weights", INCEPTION_FILE, how, offline and not features):
                first = FrechetInceptionDistance(features or 2048)
            others = [FrechetInceptionDistance(first.inception) for _ in subjects[1:]]
        except ModuleNotFoundError as error:
            raise UsageError("fid needs the package torch-fidelity: pip install torch-fidelity") from error
        self._device = device
        self._distances = dict(
            zip(subjects, [first.to(device), *(other.to(device) for other in others)], strict=True)
        )
        self._frames = dict.fromkeys(subjects, 0)

    @torch.inference_mode()
    def update(self, subject: str, results: list[Picture], truths: list[Picture]) -> None:
        """Take in a batch of frames."""
        for pictures, real in ((results, False), (truths, True)):
            frames = np.stack([as_bytes(picture) for picture in pictures])
            self._distances[subject].update(
                torch.from_numpy(frames).permute(0, 3, 1, 2).to(self._device), real=real
            )
        self._frames[subject] += len(results)

    def value(self, subject: str) -> float:
        """The distance; NaN for fewer than two frames, which have no covariance."""
        return float(self._distances[subject].compute()) if self._frames[subject] > 1 else float("nan")


@contextmanager
def _fetching(metric: str, what: str, file: str, how: str, offline: bool) -> Iterator[None]:
    """Around what fetches ``file`` unless it is here: one line where it may not, or cannot."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    otherwise = f"run it once with a network, or leave {metric} out of --metrics"
    if offline and not (folder / file).is_file():
        raise WeightsError(
            f"{metric} needs {what}, and {file} is not in {folder}; --offline or HF_HUB_OFFLINE forbids "
            f"fetching it: {otherwise}"
        )
    try:
        with redirect_stdout(sys.stderr):  # torch announces downloads on stdout, which is for results
            yield
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{metric} needs {what} ({how}) and there is no way to them ({_last_line(error)}); {otherwise}"
        ) from error


def _tensor(pictures: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack([as_unit(picture) for picture in pictures])).permute(0, 3, 1, 2)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
