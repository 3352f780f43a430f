"""What happens when half precision or a device's memory does not do."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faceanim_cli import Animator
from faceanim_cli.animation.networks import Networks
from faceanim_cli.errors import FaceanimError
from faceanim_models import AnimationModel
from faceanim_models.fused_convolutions import FusedConvolution, can_fuse
from tests.conftest import TINY

Paint = Callable[..., Tensor]


@pytest.fixture
def frames(astronaut: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(astronaut[:64, 180 + i : 244 + i]) for i in range(11)]


@pytest.fixture
def paint(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Paint], Paint]], None]:
    """Puts something else in the networks' place, made from what was there."""

    def replace(make: Callable[[Paint], Paint]) -> None:
        monkeypatch.setattr(Networks, "paint", make(Networks.paint))

    return replace


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Batches of another length may round another way."""
    return a.shape == b.shape and bool(np.abs(a.astype(int) - b).max() <= 1)


def animated(weights: Path, frames: list[np.ndarray], **options: object) -> tuple[Animator, np.ndarray]:
    animator = Animator(weights, device="cpu", sr=False, mark=None, **{"precision": "fp32", **options})
    animator.set_photo(frames[0], crop=None)
    return animator, np.stack(list(animator.animate(frames)))


def test_half_precision_that_keeps_the_picture_stays(
    rigid_weights_file: Path, frames: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    animator, half = animated(rigid_weights_file, frames, precision="bf16", batch=4)
    _, exact = animated(rigid_weights_file, frames)
    assert animator.dtype == torch.bfloat16
    assert not caplog.records
    assert np.abs(half.astype(int) - exact).mean() < 1


@pytest.mark.parametrize("fault", [float("nan"), 0.02])
@pytest.mark.parametrize("batch", [1, 4])
def test_half_precision_that_shows_falls_back_and_says_so(
    rigid_weights_file: Path,
    frames: list[np.ndarray],
    paint: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    fault: float,
    batch: int,
) -> None:
    _, wanted = animated(rigid_weights_file, frames)
    calls: list[torch.dtype] = []

    def off(right: Paint) -> Paint:
        def painted(self: Networks, *arguments: object) -> Tensor:
            calls.append(self.dtype)
            return right(self, *arguments) + (0 if self.dtype == torch.float32 else fault)

        return painted

    paint(off)
    animator, found = animated(rigid_weights_file, frames, precision="bf16", batch=batch)
    assert animator.dtype == torch.float32
    # From the first frame on; the first batch's keypoints, which passed, remain. The fault is 5 levels.
    assert np.abs(found.astype(int) - wanted).mean() < 2
    assert calls.count(torch.bfloat16) == 1  # nothing is tried again, in other clips neither
    list(animator.animate(frames))
    assert calls.count(torch.bfloat16) == 1
    (record,) = caplog.records
    assert "pictures in bfloat16 differ from float32" in record.message


def test_batches_are_halved_until_they_fit(
    rigid_weights_file: Path,
    frames: list[np.ndarray],
    paint: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, wanted = animated(rigid_weights_file, frames)
    tried: list[int] = []

    def hungry(right: Paint) -> Paint:
        def painted(self: Networks, code: object, keypoints: object) -> Tensor:
            tried.append(len(keypoints.points))  # type: ignore[attr-defined]
            if tried[-1] > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return right(self, code, keypoints)

        return painted

    paint(hungry)
    animator, found = animated(rigid_weights_file, frames, batch=8)
    assert same(found, wanted)  # all frames, in order, motion still counted from the first
    assert animator.batch == 2
    assert tried == [8, 4, 2, 2, 4, 2, 2, 2, 1]  # the second half was not known to be too large
    assert "with 4 frames at a time" in caplog.text


def test_not_even_one_frame_fits(
    rigid_weights_file: Path, frames: list[np.ndarray], paint: Callable[..., None]
) -> None:
    def full(_: Paint) -> Paint:
        def painted(*_: object) -> Tensor:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        return painted

    paint(full)
    with pytest.raises(FaceanimError, match=r"one frame at a time.*--device cpu"):
        animated(rigid_weights_file, frames, batch=4)


def test_compiling_is_left_out_where_it_does_not_pay(
    rigid_weights_file: Path, frames: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _, found = animated(rigid_weights_file, frames[:1], compiled=True)
    assert "does not pay on cpu" in caplog.text
    assert len(found) == 1


def test_frames_on_several_cores_come_out_as_on_one(
    rigid_weights_file: Path, frames: list[np.ndarray]
) -> None:
    _, wanted = animated(rigid_weights_file, frames)
    animator = Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False, mark=None)
    sharpness = [torch.cat([d.sharpness for d in animator.detections(frames, None)])]
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        _, found = animated(rigid_weights_file, frames)
        sharpness.append(torch.cat([d.sharpness for d in animator.detections(frames, None)]))
    finally:
        torch.set_num_threads(before)
    assert same(found, wanted)
    torch.testing.assert_close(*sharpness)


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason="no bfloat16 in this CPU's fused convolutions")
def test_half_precision_is_compared_with_what_is_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else fused convolutions that are wrong for some shapes in any precision would agree with each other."""
    assert can_fuse(torch.float32)  # remembered, and true of the shapes that are tried
    torch.manual_seed(0)
    model = AnimationModel(TINY).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.1)
    frames, fused = torch.rand(2, 3, 64, 64), FusedConvolution.forward
    monkeypatch.setattr(FusedConvolution, "forward", lambda *arguments: 1.5 * fused(*arguments))
    networks = Networks(model, None, torch.device("cpu"), torch.bfloat16)
    exact = networks.exact()
    with torch.inference_mode():
        wanted = model.detect(frames).points
    with networks.inference():
        assert (networks.detect(frames).motion[0] - wanted).abs().max() > 0.02
    with exact.inference():
        torch.testing.assert_close(exact.detect(frames).motion[0], wanted, rtol=0, atol=1e-3)
