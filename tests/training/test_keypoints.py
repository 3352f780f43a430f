"""The keypoint detector trained alone: what it learns from, what it is scored by, and what stays as it is."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, anchored_keypoints
from faceanim_cli.errors import WeightsError
from faceanim_cli.training.keypoint_scores import KeypointScores, movements, validate_keypoints
from faceanim_cli.training.keypoints import KeypointObjective, train_keypoints
from faceanim_cli.training.progress import LossReport
from faceanim_cli.training.settings import KeypointLossWeights, KeypointTrainingSettings
from faceanim_cli.training.validation import framed_clip
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from faceanim_models import AnimationModel
from tests.training.conftest import SIZE, same, state_of, tiny_settings, training

K = len(DENSE_ANCHORS)


class Found(nn.Module):
    """A detector that finds what it is told to, in one step or two."""

    def __init__(self, *steps):
        super().__init__()
        self.found = nn.ParameterList(nn.Parameter(step) for step in steps)

    def steps(self, images):
        return [step.expand(len(images), -1, -1) for step in self.found]


def batch_of(points, count=2):
    return {
        "frame": torch.zeros(count, 3, 8, 8),
        "points": points.expand(count, -1, -1).clone(),
    }


class TestObjective:
    def test_eyes_and_mouth_count_more(self):
        truth = torch.zeros(1, K, 2)
        losses = {}
        for name, k in (("nose", 15), ("lid", 4)):
            found = truth.clone()
            found[0, k] = 0.1
            objective = KeypointObjective(Found(found), DENSE_ANCHORS, KeypointLossWeights(openings=0))
            losses[name] = objective(batch_of(truth))[0].item()
        assert losses["nose"] == pytest.approx(20 * 0.1 / K, rel=1e-5)
        assert losses["lid"] == pytest.approx(3 * losses["nose"], rel=1e-5)

    def test_an_opening_that_is_right_costs_nothing_wherever_it_lies(self):
        truth = torch.rand(1, K, 2)
        weights = KeypointLossWeights(points=0)
        shifted = KeypointObjective(Found(truth + 0.3), DENSE_ANCHORS, weights)
        assert shifted(batch_of(truth))[0].item() == pytest.approx(0, abs=1e-5)
        closed = truth.clone()
        closed[0, 4] = closed[0, 5]  # the upper lid on the lower one
        _, terms, _ = KeypointObjective(Found(closed), DENSE_ANCHORS, weights)(batch_of(truth))
        # Of the pairs (2 lids, 2 lips, the corners, 4 brows over corners of the eyes) one is wrong.
        expected = (truth[0, 4] - truth[0, 5]).abs().sum() / (9 * 2)
        assert terms["openings"].item() == pytest.approx(expected.item(), rel=1e-4)

    def test_points_that_are_not_known_teach_nothing(self):
        anchors = (*DENSE_ANCHORS, (68,), (69,))
        truth = torch.zeros(1, K + 2, 2)
        truth[0, K:] = torch.nan
        found = Found(torch.rand(1, K + 2, 2))
        loss, terms, _ = KeypointObjective(found, anchors, KeypointLossWeights())(batch_of(truth))
        loss.backward()
        assert all(math.isfinite(term) for term in terms.values())
        gradient = found.found[0].grad[0]
        assert (gradient[:K] != 0).all()
        assert (gradient[K:] == 0).all()

    def test_both_steps_are_taught_and_told_apart(self):
        truth, coarse, fine = torch.zeros(1, K, 2), torch.full((1, K, 2), 0.2), torch.full((1, K, 2), 0.1)
        weights = KeypointLossWeights(expression=0)
        loss, terms, points = KeypointObjective(Found(coarse, fine), DENSE_ANCHORS, weights)(batch_of(truth))
        assert terms["coarse_points"].item() == pytest.approx(0.2)
        assert terms["points"].item() == pytest.approx(0.1)
        assert loss.item() == pytest.approx(20 * (0.2 + 0.1), rel=1e-5)
        assert torch.equal(points[0], fine[0])


def face_that_talks(frames=30):
    """(N, 80, 2) pixels of a frame of 96: lids, mouth and brows open and close, the head drifts."""
    points = np.zeros((frames, 80, 2))
    points[:, :68] = np.random.default_rng(7).uniform(-16, 16, (68, 2))
    points[:, 36], points[:, 45] = (-10, -5), (10, -5)  # 20 apart
    points[:, 39], points[:, 42] = (-3, -5), (3, -5)
    phase = np.sin(np.linspace(0, 6, frames))
    for upper, lower in (((37, 38), (41, 40)), ((43, 44), (47, 46))):
        for a, b, x in zip(upper, lower, (-1, 1), strict=True):
            points[:, a, 0] = points[:, b, 0] = points[:, 36 if upper[0] == 37 else 42, 0] + 3 + x
            points[:, a, 1], points[:, b, 1] = -6 - phase, -4 + phase
    points[:, 62], points[:, 66] = (0, 6), (0, 8)
    points[:, 66, 1] += 2 + 2 * phase
    points[:, 48], points[:, 54] = (-5, 7), (5, 7)
    points[:, 54, 0] += phase
    for brow, eye in ((19, 36), (21, 39), (22, 42), (24, 45)):
        points[:, brow] = points[:, eye] - [0, 5]
        points[:, brow, 1] -= phase
    points[:, 68], points[:, 69] = (points[:, 36] + points[:, 39]) / 2, (points[:, 42] + points[:, 45]) / 2
    points[:, 68:70, 0] += phase[:, None]
    return points + 48 + np.arange(frames)[:, None, None] * [0.1, 0.05]


class TestScores:
    def test_movements_are_those_of_the_face_whatever_its_size(self):
        points = face_that_talks()
        anchors = (*DENSE_ANCHORS, (68,), (69,))
        phase = np.sin(np.linspace(0, 6, len(points)))
        for scale in (1.0, 3.0):
            found = movements(anchored_keypoints(scale * points, anchors), anchors)
            np.testing.assert_allclose(found["lids"], (2 + 2 * phase) / 20, atol=1e-6)
            np.testing.assert_allclose(found["mouth"], (4 + 2 * phase) / 20, atol=1e-6)
            np.testing.assert_allclose(found["width"], (10 + phase) / 20, atol=1e-6)
            np.testing.assert_allclose(found["brows"], (5 + phase) / 20, atol=1e-6)
            np.testing.assert_allclose(found["gaze"], phase / 7, atol=1e-6)

    def test_ten_keypoints_show_neither_lids_nor_gaze(self):
        found = movements(anchored_keypoints(face_that_talks(), PAPER_ANCHORS), PAPER_ANCHORS)
        assert set(found) == {"width", "brows"}

    @pytest.mark.parametrize("share", [1.0, 0.5])
    def test_a_detector_that_sees_half_of_what_moves_has_slopes_of_a_half(self, share):
        points = face_that_talks()
        frames = np.zeros((len(points), 96, 96, 3), np.uint8)
        clip = Clip("talks", "somebody", frames, points.astype(np.float32))
        model = AnimationModel(tiny_settings()).eval()
        _, shown = framed_clip(clip, SIZE, every=1)
        truth = anchored_keypoints(shown, DENSE_ANCHORS).astype(np.float32)
        seen = iter(torch.from_numpy(share * truth + (1 - share) * truth.mean(0)).split(16))
        model.keypoint_detector.forward = lambda images, kept=None: next(seen)
        scores = validate_keypoints(model, [clip], SIZE, every=1)
        slopes = (scores.lids, scores.mouth, scores.width, scores.brows)
        assert slopes == pytest.approx((share,) * 4, abs=0.02)
        assert math.isnan(scores.gaze)
        off = np.linalg.norm((1 - share) * (truth - truth.mean(0)), axis=-1).mean() * 127.5
        assert scores.error == pytest.approx(off, abs=1e-3)
        assert scores.value == -scores.error

    def test_in_words(self):
        text = str(KeypointScores(1.234, 0.9, 0.8, math.nan, 0.7, math.nan))
        assert text == "error 1.23 px of 256; slopes: lids 0.90, mouth 0.80, brows 0.70"


@pytest.fixture
def init(tmp_path):
    torch.manual_seed(2)
    model = AnimationModel(tiny_settings())
    save_checkpoint(tmp_path / "init.safetensors", model, notes={"licence": "CC BY-NC 4.0"})
    return tmp_path / "init.safetensors"


@pytest.fixture
def run(data, tmp_path, init):
    quick = {
        **{"data": data, "out": tmp_path / "run", "cache": data / "cache", "size": SIZE, "batch": 4},
        **{"max_steps": 2, "workers": 0, "precision": "32", "init": init},
    }
    return training(train_keypoints, KeypointTrainingSettings, quick)


class TestRun:
    def test_the_detector_learns_and_all_other_networks_are_init_s_to_the_last_bit(self, run, init, tmp_path):
        scores, reports = run()
        assert any("12 frames in 2 clips of 2 people" in line for line in reports)
        assert any("best" in line and "px of 256" in line and "best -" not in line for line in reports)
        assert math.isfinite(scores.error)
        for name in ("best", "last"):
            start = load_checkpoint(init).state_dict()
            model = load_checkpoint(tmp_path / "run" / f"{name}.safetensors", expected="animation")
            changed = {key for key, value in model.state_dict().items() if not torch.equal(value, start[key])}
            assert changed
            assert all(key.startswith("keypoint_detector.") for key in changed)
            assert model.settings == tiny_settings()
        said = read_metadata(tmp_path / "run" / "best.safetensors")
        assert said["licence"] == "CC BY-NC 4.0"
        assert float(said["score"]) == scores.value

    def test_a_stopped_run_goes_on_to_the_last_bit(self, run, tmp_path):
        run(out=tmp_path / "whole", max_steps=3)
        run(out=tmp_path / "parts", max_steps=3, max_minutes=1e-9)
        run(out=tmp_path / "parts", max_steps=3)
        assert state_of(tmp_path / "whole")["step"] == 3
        assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))

    def test_keypoints_that_are_found_freely_are_refused(self, run, tmp_path):
        save_checkpoint(tmp_path / "free.safetensors", AnimationModel(tiny_settings(anchors=())))
        with pytest.raises(WeightsError, match=r"free\.safetensors: its keypoints are found freely"):
            run(init=tmp_path / "free.safetensors")


def test_it_learns_where_the_landmarks_are(run, monkeypatch):
    errors = []
    add = LossReport.add

    def remember(self, terms, *rest):
        errors.append(float(terms["points"]))
        add(self, terms, *rest)

    monkeypatch.setattr(LossReport, "add", remember)
    run(max_steps=60, learning_rate=1e-2, warm_up=1)
    assert np.mean(errors[-5:]) < 0.7 * np.mean(errors[:5])
