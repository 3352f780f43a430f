"""SWATS against the paper's Algorithm 1, worked by hand and written down once more in NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from faceanim_cli.training.swats import SWATS


def parameter(*values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step(optimizer, *gradients):
    for group, gradient in zip(optimizer.param_groups, gradients, strict=True):
        (p,) = group["params"]
        p.grad = None if gradient is None else torch.as_tensor(gradient, dtype=torch.float64).reshape(p.shape)
    optimizer.step()


class TestByHand:
    def test_a_constant_gradient(self):
        # Bias-corrected, m is g and a is g^2: Adam steps by -alpha and gamma is alpha^2 / (alpha g), here
        # 0.1 / 4 from the first step on. So SGD takes over after the second, with rate 0.025, momentum 0.9.
        w = parameter(0.0)
        switched = []
        optimizer = SWATS([w], lr=0.1, betas=(0.9, 0.999), on_switch=lambda *said: switched.append(said))
        step(optimizer, 4.0)
        assert w.item() == pytest.approx(-0.1)
        assert not switched
        step(optimizer, 4.0)
        assert w.item() == pytest.approx(-0.2)
        assert [(name, k) for name, k, _ in switched] == [("0", 2)]
        assert switched[0][2] == pytest.approx(0.025)
        step(optimizer, 4.0)  # v = 4, w -= 0.1 x 0.025 x 4
        assert w.item() == pytest.approx(-0.21)
        step(optimizer, 4.0)  # v = 0.9 x 4 + 4 = 7.6
        assert w.item() == pytest.approx(-0.229)
        step(optimizer, -8.0)  # v = 0.9 x 7.6 - 8 = -1.16
        assert w.item() == pytest.approx(-0.229 + 0.1 * 0.025 * 1.16)

    def test_adam_s_first_two_steps_on_two_weights(self):
        # beta1 = 0.5, beta2 = 0.75. Step 1 is -alpha sign(g). Step 2, for g = 1 then 3:
        # m = (0.5 x 0.5 + 0.5 x 3) / 0.75 = 7/3, a = (0.75 x 0.25 + 0.25 x 9) / (1 - 0.75^2) = 39/7.
        w = parameter(1.0, -1.0)
        optimizer = SWATS([w], lr=0.1, betas=(0.5, 0.75))
        step(optimizer, [1.0, -2.0])
        np.testing.assert_allclose(w.detach(), [0.9, -0.9])
        step(optimizer, [3.0, -2.0])
        np.testing.assert_allclose(
            w.detach(), [0.9 - 0.1 * (7 / 3) / math.sqrt(39 / 7), -0.8], rtol=1e-7
        )  # (1.75 / 0.75) / sqrt(2.4375 / 0.4375)

    def test_a_gradient_at_right_angles_to_the_step_says_nothing_of_the_rate(self):
        w = parameter(0.0)
        optimizer = SWATS([w], lr=0.1)
        step(optimizer, 0.0)
        assert optimizer.param_groups[0]["average"] == 0
        assert optimizer.param_groups[0]["steps"] == 1

    def test_a_learning_rate_that_falls_takes_the_sgd_rate_with_it(self):
        w = parameter(0.0)
        optimizer = SWATS([w], lr=0.1)
        for rate in (0.1, 0.05):
            optimizer.param_groups[0]["lr"] = rate
            step(optimizer, 4.0)  # gamma / lr is 1 / 4 all the time: settled
        assert optimizer.param_groups[0]["sgd_rate"] == pytest.approx(0.25)
        optimizer.param_groups[0]["lr"] = 0.01
        before = w.item()
        step(optimizer, 4.0)
        assert w.item() - before == pytest.approx(-0.1 * (0.25 * 0.01) * 4.0)


def algorithm_1(w, gradients, alpha, beta1, beta2, epsilon, tolerance):
    """The paper's pseudo-code, line by line. The weights after each step, and the step that switched."""
    w, m, a, v = w.copy(), np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    average, rate, switched, path = 0.0, None, None, []
    for k, g in enumerate(gradients, start=1):
        if rate is not None:
            v = beta1 * v + g
            w = w - (1 - beta1) * rate * v
        else:
            m = beta1 * m + (1 - beta1) * g
            a = beta2 * a + (1 - beta2) * g * g
            p = -alpha * math.sqrt(1 - beta2**k) / (1 - beta1**k) * m / (np.sqrt(a) + epsilon)
            w = w + p
            if p @ g != 0:
                gamma = (p @ p) / -(p @ g)
                average = beta2 * average + (1 - beta2) * gamma
                if k > 1 and abs(average / (1 - beta2**k) - gamma) < tolerance:
                    rate, switched = average / (1 - beta2**k), k
        path.append(w)
    return np.stack(path), switched


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_follows_algorithm_1_through_the_switch(seed):
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(5)
    gradients = rng.standard_normal(5) + 0.8 * rng.standard_normal((60, 5))
    path, switched = algorithm_1(start, gradients, 0.01, 0.9, 0.99, 1e-9, 1e-4)
    assert 2 < switched < 55
    w = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = SWATS([w], lr=0.01, betas=(0.9, 0.99), tolerance=1e-4)
    for k, gradient in enumerate(gradients, start=1):
        step(optimizer, gradient)
        np.testing.assert_allclose(w.detach(), path[k - 1], rtol=1e-9, err_msg=f"step {k}")
        assert (optimizer.param_groups[0]["sgd_rate"] is not None) == (k >= switched)


def quadratic(optimizer, x, curvature, steps):
    """Losses of 0.5 sum c x^2, a convex bowl."""
    losses = []
    for _ in range(steps):
        loss = 0.5 * (curvature * x.square()).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def test_reaches_the_bottom_of_a_bowl_around_which_adam_circles():
    # Adam's steps stay about as long as its rate however small the gradient: it stalls a step's length away.
    curvature = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    by_adam, by_swats = parameter(1.0, 1.0, 1.0), parameter(1.0, 1.0, 1.0)
    adam = quadratic(torch.optim.Adam([by_adam], 0.1, betas=(0.5, 0.9), eps=1e-9), by_adam, curvature, 600)
    swats = quadratic(SWATS([by_swats], 0.1, betas=(0.5, 0.9), tolerance=1e-3), by_swats, curvature, 600)
    assert min(adam[-100:]) > 1e-5
    assert swats[-1] < 1e-12


@pytest.mark.parametrize(("share", "switches"), [(0.0, False), (0.03, False), (0.06, True)])
def test_a_share_of_the_average_is_settled_enough_whatever_the_gradient_s_size(share, switches):
    # Gradients 1 and 1.2: gamma is 0.1, then 0.1 / sqrt((0.25 + 0.72) / 0.75) = 0.0879; their bias-corrected
    # average, (0.025 + 0.044) / 0.75 = 0.0920, is 4.4 % off. A larger gradient makes all of them smaller.
    for size in (1e-3, 1.0, 1e3):
        w = parameter(0.0)
        optimizer = SWATS([w], lr=0.1, betas=(0.0, 0.5), share=share)
        step(optimizer, size)
        step(optimizer, 1.2 * size)
        assert (optimizer.param_groups[0]["sgd_rate"] is not None) == switches


class TestGroups:
    def test_each_decides_for_itself(self):
        steady, restless = parameter(0.0), parameter(0.0)
        switched = []
        optimizer = SWATS(
            [{"params": [steady], "name": "steady"}, {"params": [restless], "name": "restless"}],
            lr=0.1,
            on_switch=lambda *said: switched.append(said[:2]),
        )
        for k in range(10):
            step(optimizer, 1.0, 1.0 + k % 3)
        assert switched == [("steady", 2)]

    def test_one_without_a_gradient_waits(self):
        used, unused = parameter(0.0), parameter(5.0)
        optimizer = SWATS([{"params": [used]}, {"params": [unused]}], lr=0.1)
        for _ in range(3):
            step(optimizer, 1.0, None)
        assert unused.item() == 5.0
        assert [group["steps"] for group in optimizer.param_groups] == [3, 0]


class TestState:
    @pytest.mark.parametrize("stopped_after", [1, 2, 7])
    def test_goes_on_as_if_never_stopped(self, stopped_after, tmp_path):
        gradients = [(1.0, 1.0 + k % 3) for k in range(12)]  # the first group switches at 2

        def fresh():
            return SWATS([{"params": [parameter(0.0)]}, {"params": [parameter(0.0)]}], lr=0.1)

        whole, first = fresh(), fresh()
        for pair in gradients:
            step(whole, *pair)
        for pair in gradients[:stopped_after]:
            step(first, *pair)
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second = fresh()
        for mine, others in zip(second.param_groups, first.param_groups, strict=True):
            mine["params"][0].data = copy.deepcopy(others["params"][0].data)
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        for pair in gradients[stopped_after:]:
            step(second, *pair)
        for a, b in zip(second.param_groups, whole.param_groups, strict=True):
            assert torch.equal(a["params"][0], b["params"][0])
            assert (a["sgd_rate"], a["average"], a["steps"]) == (b["sgd_rate"], b["average"], b["steps"])


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"eps": 0.0}, {"tolerance": -1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        SWATS([parameter(0.0)], **wrong)
