"""Metrics that are networks: against other implementations, with networks small enough to know."""

import math
import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.functional.image import lpips as theirs

from faceanim_cli.animation.animator import Animator
from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.evaluation import learned_metrics
from faceanim_cli.evaluation.frames import Batch, FrameFeatures, MetricNetworks
from faceanim_cli.evaluation.landmark_metrics import akd, akd_miss, expression, pose
from faceanim_cli.evaluation.learned_metrics import (
    FrechetDistances,
    KeypointLandmarks,
    ScriptedLandmarks,
    csim,
    load_identity,
    load_lpips,
)

CPU = torch.device("cpu")


class MeanColour(nn.Module):
    """Embeds a face as its mean colour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Corners(nn.Module):
    """68 points, all at the picture's mean red, as x, and mean green, as y, from -1 to 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (2 * x[:, :2].mean((2, 3)) - 1)[:, None].expand(-1, 68, 2)


def scripted(network: nn.Module, path: Path) -> Path:
    torch.jit.script(network).save(str(path))
    return path


def coloured(*colours: tuple[int, int, int], side: int = 33) -> list[np.ndarray]:
    return [np.broadcast_to(np.array(c, np.uint8), (side, side, 3)).copy() for c in colours]


class Points:
    """A detector that reads its points off a table, by the frame's first red level."""

    name, path, independent = "table", Path("table"), True

    def __init__(self, table: dict[int, np.ndarray]) -> None:
        self.table = table
        self.anchors = tuple((i,) for i in range(68))

    def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
        return np.stack([self.table[int(frame[0, 0, 0])] for frame in frames])


class EveryoneButGreen:
    """A face detector: no face in frames that are green."""

    def sees_face(self, image: np.ndarray) -> bool:
        return not image[0, 0, 1]


def face(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(60, 15, (68, 2))


def batch_of(results: list[np.ndarray], truths: list[np.ndarray], table: dict[int, np.ndarray]) -> Batch:
    return batch(
        truths[0], truths[0], truths, results, MetricNetworks(Points(table), faces=EveryoneButGreen())
    )  # type: ignore[arg-type]


def batch(
    source: np.ndarray,
    reference: np.ndarray,
    driving: list[np.ndarray],
    results: list[np.ndarray],
    networks: MetricNetworks,
    landmarks: np.ndarray | None = None,
) -> Batch:
    first, rest = FrameFeatures([source], networks), FrameFeatures([reference], networks)
    return Batch(
        first, rest, FrameFeatures(driving, networks, None, landmarks), FrameFeatures(results, networks)
    )


def test_akd_is_the_mean_distance_where_there_is_a_face() -> None:
    moved = face() + np.array([3.0, 4.0])
    half = face()
    half[:34] += (0, 2)
    results = coloured((1, 0, 0), (2, 0, 0), (1, 9, 0))  # the third has no face
    found = batch_of(results, coloured((0, 0, 0), (0, 0, 0), (0, 0, 0)), {0: face(), 1: moved, 2: half})
    values = akd(found)["akd"]
    assert values[:2] == pytest.approx([5.0, 1.0])
    assert math.isnan(values[2])
    assert akd_miss(found)["akd_miss"] == [0.0, 0.0, 1.0]


def test_akd_takes_the_truth_from_landmark_files() -> None:
    networks = MetricNetworks(Points({0: face(), 1: face() + 1}), faces=EveryoneButGreen())  # type: ignore[arg-type]
    frames = coloured((0, 0, 0), (0, 0, 0))
    known = np.stack([face() + np.array([0, 2]), np.full((68, 2), np.nan)])
    found = batch(frames[0], frames[0], frames, frames, networks, known)
    assert akd(found)["akd"][0] == pytest.approx(2)
    assert math.isnan(akd(found)["akd"][1])
    assert akd_miss(found)["akd_miss"][0] == 0
    assert math.isnan(akd_miss(found)["akd_miss"][1])  # nobody knows whether there is a face


def test_pose_and_expression_of_a_perfect_follower_are_zero() -> None:
    # The driver tilts by 10 degrees and lowers its lip; another face does the same from its own rest.
    c, s = math.cos(math.radians(10)), math.sin(math.radians(10))
    turn = np.array([[c, s], [-s, c]])
    talking = face()
    talking[57] += (0, 5)
    other_rest, other_talking = 1.5 * face() + 7, 1.5 * talking + 7
    table = {0: face(), 1: talking @ turn, 2: other_rest, 3: other_talking @ turn, 4: other_rest @ turn}
    networks = MetricNetworks(Points(table))
    source, reference, driving, good, mute = coloured(*((i, 0, 0) for i in (2, 0, 1, 3, 4)))
    both = batch(source, reference, [driving, driving], [good, mute], networks)
    assert pose(both)["pose"] == pytest.approx([0, 0], abs=1e-9)
    followed, stiff = expression(both)["expression"]
    assert followed == pytest.approx(0, abs=1e-9)
    eyes = float(np.hypot(*(face()[45] - face()[36])))
    points = 10 + 8 + 20  # brows, lids without corners, mouth
    assert stiff == pytest.approx(100 * 5 / eyes / points, rel=1e-6)
    still = batch(source, reference, [driving], [source], networks)
    assert pose(still)["pose"][0] > 1


def test_keypoints_of_weights_are_pixels(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    animator = Animator(rigid_weights_file, "cpu", "fp32", sr=False)
    detector = KeypointLandmarks(animator, "tiny")
    assert len(detector.anchors) == 10
    frames = [astronaut[:64, 180:244], astronaut[50:114, 180:244]]
    normal = animator.keypoints(frames)
    assert normal.shape == (2, 10, 2)
    assert detector(frames) == pytest.approx((normal + 1) * 31.5, abs=1e-4)
    animator.set_photo(frames[0], crop=None)
    assert np.allclose(animator.keypoints([frames[0]])[0], normal[0], atol=1e-5)


def test_scripted_landmarks(tmp_path: Path) -> None:
    detector = ScriptedLandmarks(scripted(Corners(), tmp_path / "points.pt"), CPU)
    assert len(detector.anchors) == 68
    points = detector(coloured((255, 0, 0), (0, 51, 0)))
    assert points[0, 0] == pytest.approx((32, 0))
    assert points[1, 5] == pytest.approx((0, 0.2 * 32), abs=1e-4)
    with pytest.raises(WeightsError, match="gives"):
        ScriptedLandmarks(scripted(MeanColour(), tmp_path / "other.pt"), CPU)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.pt: not a TorchScript"):
        ScriptedLandmarks(tmp_path / "text.pt", CPU)
    with pytest.raises(WeightsError, match="no such file"):
        load_identity(tmp_path / "none.pt", CPU)


class FixedSize(nn.Module):
    """Takes pictures of 33 x 33 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 33 * 33, 136)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


class OneNumber(nn.Module):
    """An embedding of nobody."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean()


def test_networks_that_do_not_fit_are_named_in_one_line(tmp_path: Path) -> None:
    fixed, single = scripted(FixedSize(), tmp_path / "fixed.pt"), scripted(OneNumber(), tmp_path / "one.pt")
    with pytest.raises(WeightsError, match=r"fixed\.pt: cannot compute pictures \(1, 3, 64, 64\)") as caught:
        ScriptedLandmarks(fixed, CPU)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"fixed\.pt: cannot compute pictures \(1, 3, 112, 112\)"):
        load_identity(fixed, CPU)(coloured((1, 2, 3)))
    with pytest.raises(WeightsError, match=r"one\.pt: an identity network gives \(B, D\)"):
        load_identity(single, CPU)(coloured((1, 2, 3)))
    with pytest.raises(WeightsError, match="a landmark network gives"):
        ScriptedLandmarks(single, CPU)


def test_csim_is_the_cosine_to_the_photo(tmp_path: Path) -> None:
    networks = MetricNetworks(identity=load_identity(scripted(MeanColour(), tmp_path / "id.pt"), CPU))
    white, red, grey = coloured((255, 255, 255), (255, 0, 0), (0, 0, 0))
    three = batch(white, white, [white] * 3, [white, red, grey], networks)
    # In [-1, 1]: (1, 1, 1) against (1, 1, 1), (1, -1, -1) and (-1, -1, -1).
    assert csim(three)["csim"] == pytest.approx([1, -1 / 3, -1], abs=1e-6)


def test_fid_is_the_frechet_distance_of_gaussians() -> None:
    class Pixels(nn.Module):
        num_features = 3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., 0, 0].float()

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 200, (40, 1, 1, 3)).astype(np.uint8)
    results = {"a": (truth * 0.5 + 60).astype(np.uint8), "b": truth}
    fid = FrechetDistances(list(results), CPU, Pixels())
    for name, frames in results.items():
        for start in (0, 16):
            stop = 16 if start == 0 else 40
            fid.update(name, list(frames[start:stop]), list(truth[start:stop]))
    a, t = (x.reshape(-1, 3).astype(float) for x in (results["a"], truth))
    ca, ct = np.cov(a.T), np.cov(t.T)
    expected = np.square(a.mean(0) - t.mean(0)).sum() + np.trace(
        ca + ct - 2 * scipy.linalg.sqrtm(ca @ ct).real
    )
    assert fid.value("a") == pytest.approx(expected, rel=1e-4)
    assert fid.value("b") == pytest.approx(0, abs=1e-2)
    assert math.isnan(FrechetDistances(["x"], CPU, Pixels()).value("x"))


def test_fid_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("torch-fidelity")

    monkeypatch.setattr(learned_metrics, "FrechetInceptionDistance", missing)
    with pytest.raises(UsageError, match="pip install torch-fidelity"):
        FrechetDistances(["a"], CPU)


@pytest.mark.parametrize("what", ["lpips", "fid"])
def test_no_way_to_the_weights_is_one_line(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    name = {"lpips": "LearnedPerceptualImagePatchSimilarity", "fid": "FrechetInceptionDistance"}[what]
    monkeypatch.setattr(learned_metrics, name, offline)
    with pytest.raises(WeightsError, match=f"{what} needs .* no way to them .*no network") as caught:
        load_lpips(CPU) if what == "lpips" else FrechetDistances(["a"], CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "file"),
    [("lpips", "alexnet-owt-7be5be79.pth"), ("fid", "weights-inception-2015-12-05-6726825d.pth")],
)
def test_offline_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, file: str
) -> None:
    def load() -> None:
        if what == "lpips":
            load_lpips(CPU, offline=True)
        else:
            FrechetDistances(["a"], CPU, offline=True)

    loaded: list[str] = []

    def network(*_: object, **__: object) -> None:
        loaded.append(what)
        raise OSError("damaged")

    name = {"lpips": "LearnedPerceptualImagePatchSimilarity", "fid": "FrechetInceptionDistance"}[what]
    monkeypatch.setattr(learned_metrics, name, network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"{what} needs .*{re.escape(file)} is not in .*--offline"):
        load()
    assert loaded == []
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints" / file).touch()
    with pytest.raises(WeightsError, match="damaged"):
        load()
    assert loaded == [what]


def test_lpips_is_the_published_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """With AlexNet's layers at random (its weights are a download), and LPIPS's own, which come along."""
    original = theirs._get_tv_model_features
    torch.manual_seed(0)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained=False: original(net, False))
    networks = []
    build = learned_metrics.LearnedPerceptualImagePatchSimilarity
    monkeypatch.setattr(
        learned_metrics,
        "LearnedPerceptualImagePatchSimilarity",
        lambda *a, **k: networks.append(build(*a, **k)) or networks[0],
    )
    distance = load_lpips(CPU)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    network = networks[0].net

    def features(picture: np.ndarray) -> list[torch.Tensor]:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        shift = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
        x = (x - shift) / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
        found = []
        for part in (
            network.net.slice1,
            network.net.slice2,
            network.net.slice3,
            network.net.slice4,
            network.net.slice5,
        ):
            x = part(x)
            found.append(x / x.square().sum(1, keepdim=True).sqrt().clamp_min(1e-10))
        return found

    with torch.no_grad():
        expected = sum(
            float((layer.model[-1].weight * (p - q).square()).sum(1).mean())
            for layer, p, q in zip(network.lins, features(a), features(b), strict=True)
        )
    far, same = distance([a, b], [b, b])
    assert far == pytest.approx(expected, rel=1e-4)
    assert same == pytest.approx(0, abs=1e-7)
