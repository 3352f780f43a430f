"""What the animation networks are trained to do, on pairs whose losses are known."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from faceanim_cli.training.architecture import SHIPPED_ANCHORS, add_free_keypoints, set_mean_face
from faceanim_cli.training.motion_losses import FACE_SIGMA, MotionObjective
from faceanim_cli.training.perceptual import SqueezeNetLoss
from faceanim_cli.training.settings import LossWeights
from faceanim_models import AnimationModel
from faceanim_models.geometry import gaussian_heatmaps
from tests.training.conftest import SIZE, K, tiny_settings

TERMS = {"keypoints", "pixels", "pixels_warped", "pixels_repainted", "still", "repaint"}


def objective_of(model, **weights):
    return MotionObjective(model, None, LossWeights(**weights))


def show_the_warp(model):
    """M is as good as 0 and the result is E. Keypoints are found in the middle."""
    nn.init.zeros_(model.generator.head.weight)
    nn.init.zeros_(model.generator.head.bias)
    with torch.no_grad():
        model.generator.head.bias[12:] = -30.0
    nn.init.zeros_(model.keypoint_detector.heatmaps.weight)
    nn.init.zeros_(model.keypoint_detector.heatmaps.bias)


@pytest.fixture
def still_pairs(pairs):
    """Driving frame and source frame are the same."""
    same = {key.replace("source", "driving"): pairs[key] for key in ("source", "source_points")}
    return {**pairs, **same}


class TestTerms:
    def test_are_finite_and_named(self, model, pairs, features):
        loss, terms, _ = MotionObjective(model, SqueezeNetLoss(features), LossWeights())(pairs)
        assert set(terms) == TERMS | {"perceptual", "perceptual_warped"}
        assert loss.ndim == 0
        assert all(term.isfinite() and term >= 0 and not term.requires_grad for term in terms.values())
        assert loss.isfinite()

    @pytest.mark.parametrize("name", sorted(TERMS))
    def test_each_counts_by_its_weight(self, model, pairs, name):
        nothing = dict.fromkeys((field.name for field in dataclasses.fields(LossWeights)), 0.0)
        loss, terms, _ = objective_of(model, **{**nothing, name: 3.0})(pairs)
        assert terms[name] > 0
        assert loss.item() == pytest.approx(3 * terms[name].item(), rel=1e-5)

    def test_still_is_zero_without_motion(self, model, still_pairs):
        _, terms, _ = objective_of(model)(still_pairs)
        assert terms["still"] < 1e-5
        assert terms["pixels_warped"] < 1e-4

    def test_motion_where_nothing_changed_is_charged(self, model, still_pairs):
        still_pairs["driving_points"] = still_pairs["source_points"] + torch.tensor([0.3, 0.0])
        nn.init.zeros_(model.dense_motion.mixture.weight)
        nn.init.zeros_(model.dense_motion.mixture.bias)
        with torch.no_grad():
            model.dense_motion.mixture.bias[1] = 60  # the head candidate everywhere
        torch.manual_seed(0)
        exact = (torch.rand(4, 1, 1) < 0.5).float().mean().item()
        assert 0 < exact < 1
        torch.manual_seed(0)  # pairs that move by the landmarks shift by 0.3, the others not at all
        _, terms, _ = objective_of(model, landmark_motion=0.5)(still_pairs)
        assert terms["still"].item() == pytest.approx(0.3 * exact, rel=1e-3)

    def test_motion_where_the_frames_differ_is_free(self, model, pairs):
        pairs["source"] = torch.zeros(4, 3, SIZE, SIZE)
        pairs["driving"] = torch.full((4, 3, SIZE, SIZE), 0.2)  # ten times the tolerance
        _, terms, _ = objective_of(model)(pairs)
        assert terms["still"] < 1e-6

    def test_keypoints_is_the_mean_distance_of_each_coordinate(self, model, pairs):
        show_the_warp(model)
        for role in ("source", "driving"):
            pairs[f"{role}_points"] = torch.tensor([0.3, -0.1]).expand(4, K, 2)
        _, terms, _ = objective_of(model)(pairs)
        assert terms["keypoints"].item() == pytest.approx(0.2, abs=1e-5)  # |0.3| and |-0.1|

    def test_pixels_of_a_uniform_error_is_that_error(self, model, pairs):
        # importance is a weighting about 1: it moves the error around, it does not scale it
        show_the_warp(model)
        pairs["source"] = torch.full((4, 3, SIZE, SIZE), 0.25)
        pairs["driving"] = torch.full((4, 3, SIZE, SIZE), 0.75)
        _, terms, _ = objective_of(model)(pairs)
        assert terms["pixels"].item() == pytest.approx(0.5, rel=1e-4)
        assert terms["pixels_warped"].item() == pytest.approx(0.5, rel=1e-4)

    def test_pixels_repainted_looks_at_r_alone(self, model, pairs):
        show_the_warp(model)
        with torch.no_grad():
            model.generator.head.bias[:12] = math.atanh(0.5)  # R = E + 0.5
        pairs["source"] = torch.full((4, 3, SIZE, SIZE), 0.25)
        pairs["driving"] = torch.full((4, 3, SIZE, SIZE), 0.75)
        _, terms, _ = objective_of(model)(pairs)
        assert terms["pixels_repainted"] < 1e-4
        assert terms["pixels"].item() == pytest.approx(0.5, rel=1e-4)

    def test_repaint_is_the_mean_of_the_mask(self, model, pairs):
        show_the_warp(model)
        with torch.no_grad():
            model.generator.head.bias[12:] = -1.0
        _, terms, _ = objective_of(model)(pairs)
        assert terms["repaint"].item() == pytest.approx(1 / (1 + math.e), rel=1e-4)

    def test_an_error_at_the_mouth_counts_more_than_one_in_the_background(self, model, still_pairs):
        show_the_warp(model)
        mouth = torch.full((4, K, 2), 0.9)
        mouth[:, objective_of(model).expressive[0]] = torch.tensor([0.0, 0.5])
        still_pairs["source_points"] = still_pairs["driving_points"] = mouth
        frame = torch.full((4, 3, SIZE, SIZE), 0.5)

        def error_at(row, column):
            driving = frame.clone()
            driving[:, :, row : row + 3, column : column + 3] = 1.0
            return objective_of(model)({**still_pairs, "source": frame, "driving": driving})[1][
                "pixels"
            ].item()

        # (0, 0.5) lies in column 31.5 and row 47.25
        assert error_at(46, 30) > 4 * error_at(30, 46)
        assert error_at(30, 46) == pytest.approx(error_at(10, 10), rel=0.1)


class TestFlow:
    """Free keypoints against optical flow that is the same everywhere."""

    @pytest.fixture
    def grown(self):
        return add_free_keypoints(AnimationModel(tiny_settings()))

    @staticmethod
    def with_flow(pairs, x, y, trust):
        count = len(pairs["source"])
        flow = torch.tensor((x, y)).view(1, 2, 1, 1).expand(count, 2, 32, 32)
        return {**pairs, "flow": flow, "flow_trust": torch.full((count, 1, 32, 32), trust)}

    def test_is_the_mean_distance_from_where_it_leads(self, grown, pairs):
        nn.init.zeros_(grown.free_keypoints.heatmaps.weight)
        nn.init.zeros_(grown.free_keypoints.heatmaps.bias)  # all are at home, in both frames
        _, terms, _ = objective_of(grown)(self.with_flow(pairs, 0.3, -0.1, 1.0))
        assert terms["flow_keypoints"].item() == pytest.approx(0.2, abs=1e-5)
        _, terms, _ = objective_of(grown)(self.with_flow(pairs, 0.3, -0.1, 0.25))
        assert terms["flow_keypoints"].item() == pytest.approx(0.05, abs=1e-5)

    def test_of_a_picture_that_stands_still_is_all_of_it(self, grown, still_pairs):
        grown.eval()  # the same picture, the same keypoints: nothing moves
        objective = objective_of(grown, landmark_motion=0.0).eval()
        _, terms, _ = objective(self.with_flow(still_pairs, 0.3, -0.1, 0.5))
        with torch.no_grad():
            face = grown.detect(still_pairs["driving"]).points
        outside = 1 - gaussian_heatmaps(face, SIZE, SIZE, FACE_SIGMA).amax(1).mean()
        assert outside < 0.99
        assert terms["flow"].item() == pytest.approx(0.5 * (0.3 + 0.1) * outside.item(), rel=0.02)

    def test_is_not_asked_for_where_it_counts_for_nothing(self, grown, pairs):
        _, terms, _ = objective_of(grown, flow=0.0, flow_keypoints=0.0)(pairs)
        assert not {"flow", "flow_keypoints"} & set(terms)

    def test_teaches_their_detector(self, grown, pairs):
        loss, _, _ = objective_of(grown)(self.with_flow(pairs, 0.3, -0.1, 1.0))
        loss.backward()
        assert all(p.grad.isfinite().all() for p in grown.free_keypoints.parameters())
        assert grown.free_keypoints.stem.conv.weight.grad.abs().sum() > 0


class TestGradients:
    def test_reach_detector_motion_and_generator(self, model, pairs):
        nn.init.normal_(
            model.generator.head.weight, 0, 0.1
        )  # zero at the start: nothing before it learns at once
        loss, _, _ = objective_of(model)(pairs)
        loss.backward()
        for part in (model.keypoint_detector, model.dense_motion, model.generator):
            dead = [
                name
                for name, parameter in part.named_parameters()
                if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
            ]
            assert not dead

    def test_the_detector_learns_from_the_picture_too(self, model, pairs):
        # without the landmarks' term, only what moves by detected keypoints can teach it
        torch.manual_seed(0)  # not all pairs move by the landmarks
        loss, _, _ = objective_of(model, keypoints=0.0)(pairs)
        loss.backward()
        assert model.keypoint_detector.heatmaps.weight.grad.abs().sum() > 0

    def test_a_few_steps_lower_the_loss(self, pairs):
        model = AnimationModel(tiny_settings())
        pairs["driving"] = pairs["source"].roll(5, -1)
        pairs["driving_points"] = pairs["source_points"] + torch.tensor([10 / (SIZE - 1), 0.0])
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        losses = []
        for _ in range(15):
            torch.manual_seed(0)
            loss, _, _ = objective_of(model)(pairs)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < 0.8 * losses[0]


class TestPatches:
    """Networks that find eyes and mouth, and paint them, on patches of their own."""

    @pytest.fixture
    def patched(self):
        model = AnimationModel(tiny_settings(anchors=SHIPPED_ANCHORS)).train()
        set_mean_face(model)
        return model

    @pytest.fixture
    def with_pupils(self, pairs, patched):
        """Points of a mean face, moved a little; pupils of the first pair are not known."""
        face = patched.details.patches.mean_face
        points = {f"{role}_points": face + 0.02 * torch.randn(4, 31, 2) for role in ("source", "driving")}
        points["source_points"][0, 29:] = torch.nan
        return {**pairs, **points}

    def test_have_terms_of_their_own(self, patched, with_pupils, features):
        objective = MotionObjective(patched, SqueezeNetLoss(features), LossWeights(), SHIPPED_ANCHORS)
        loss, terms, _ = objective(with_pupils)
        assert loss.isfinite()
        assert set(terms) == TERMS | {"perceptual", "perceptual_warped", "patch_pixels", "patch_perceptual"}
        loss.backward()
        for part in (patched.details, patched.keypoint_detector.refiner, patched.keypoint_detector.heatmaps):
            assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())

    def test_a_detector_trained_alone_stays_and_judges_the_result(self, patched, with_pupils):
        patched.keypoint_detector.requires_grad_(False)
        before = {k: v.clone() for k, v in patched.keypoint_detector.state_dict().items()}
        objective = MotionObjective(patched, None, LossWeights(), SHIPPED_ANCHORS)
        loss, terms, image = objective(with_pupils)
        assert "keypoints" not in terms
        assert terms["patch_keypoints"] > 0
        loss.backward()
        assert all(torch.equal(v, before[k]) for k, v in patched.keypoint_detector.state_dict().items())
        assert image.shape == (4, 3, SIZE, SIZE)

    def test_only_what_the_patches_show_counts_in_theirs(self, patched):
        objective = MotionObjective(patched, None, LossWeights(), SHIPPED_ANCHORS)
        face = patched.details.patches.mean_face[None]
        truth = torch.full((1, 3, 65, 65), 0.5)
        result = (truth + 0.1).requires_grad_()
        term = objective._on_patches(result, truth, face)["patch_pixels"]
        assert term.item() == pytest.approx(2 * 0.1, rel=1e-4)  # two kinds of patches, 0.1 off everywhere
        term.backward()
        learns = result.grad[0].abs().sum(0)
        assert learns[28, 25] > 0  # the left eye: x of about -0.2, y of -0.12
        assert learns[43, 32] > 0  # the mouth
        assert learns[:20].max() == learns[54:].max() == 0

    def test_a_result_that_is_right_costs_nothing_there(self, patched, features):
        patched.keypoint_detector.requires_grad_(False).eval()
        objective = MotionObjective(patched, SqueezeNetLoss(features), LossWeights(), SHIPPED_ANCHORS)
        image = torch.rand(1, 3, SIZE, SIZE)
        terms = objective._on_patches(image, image, patched.details.patches.mean_face[None])
        assert set(terms) == {"patch_pixels", "patch_perceptual", "patch_keypoints"}
        assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())

    def test_pixels_that_the_head_has_left_count_more(self, patched):
        objective = MotionObjective(patched, None, LossWeights(), SHIPPED_ANCHORS)
        face = patched.details.patches.mean_face[None]
        moved_right = face + torch.tensor([0.3, 0.0])
        hidden = objective._hidden_map(face, moved_right, torch.zeros(1, 3, 65, 65))[0, 0]
        assert objective._hidden_map(face, face, torch.zeros(1, 3, 65, 65)).sum() == 0
        row = hidden[32]  # y of 0: within the head, whose half width is 0.55
        assert row[int(32 - 0.5 * 32)] == 1  # where it was
        assert row[int(32 + 0.5 * 32)] == 0  # where it is
        # A sliver as wide as the motion, at every height of the head: 0.3 times 1.44, of 4, of the pixels.
        assert hidden.mean().item() == pytest.approx(0.3 * 1.44 / 4, rel=0.1)
