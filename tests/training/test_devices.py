"""Two processes, or two batches, learn from a step what one process learns from one batch of both."""

import logging
import multiprocessing
import os
import socket
import sys

import pytest
import torch
from torch import nn

from faceanim_cli.errors import UsageError
from faceanim_cli.training import first_order, motion
from faceanim_cli.training.devices import launch, seed_step
from faceanim_cli.training.settings import FirstOrderLossWeights, LossWeights, RunSettings
from tests.training.conftest import state_of, write_data

# Nothing is drawn at random in a step: processes and batches would draw differently.
MOTION = {"losses": LossWeights(landmark_motion=0.0), "perceptual": "none"}
FIRST_ORDER = {"losses": FirstOrderLossWeights(equivariance=0.0, equivariance_jacobian=0.0)}


@pytest.fixture(
    params=[(motion, "run", MOTION), (first_order, "first_order_run", FIRST_ORDER)],
    ids=["faceanim's", "first-order-model's"],
)
def step(request, tmp_path, monkeypatch):
    """Takes a step of Adam into a folder; reads from there half of the gradient: what Adam averages."""
    module, run, settings = request.param
    run = request.getfixturevalue(run)
    build = module._build

    def without_statistics(*arguments):  # what a batch norm sees of a batch is not averaged on a CPU
        model = build(*arguments)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.train = lambda mode=True, norm=norm: norm  # stays as it is
            norm.training = False
        return model

    monkeypatch.setattr(module, "_build", without_statistics)
    data = write_data(tmp_path / "data", [("anna", "train", 6), ("ben", "train", 6)])

    def train(name, **changes):
        options = {"data": data, "cache": None, "max_steps": 1, **settings}
        return run(out=tmp_path / name, clip_gradients=1e9, **{**options, **changes})

    def gradient(name):
        return [kept["exp_avg"] for kept in state_of(tmp_path / name)["model optimizer"]["state"].values()]

    return train, gradient


def agree(a, b):
    largest = max(t.abs().max() for t in a)
    return all((x - y).abs().max() < 1e-4 * largest for x, y in zip(a, b, strict=True))


def test_two_processes_average_to_one_with_the_double_batch(step, monkeypatch, capfd):
    train, gradient = step
    train("one", batch=4)
    train("half", batch=2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank):
        os.environ |= {  # as torchrun sets them
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
            **{"GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "test"},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        }
        train("two", batch=2)

    # Outside of a test, whose log goes elsewhere, the library prints its banners itself.
    monkeypatch.setattr(
        logging.getLogger("lightning_fabric"), "handlers", [logging.StreamHandler(sys.stderr)]
    )
    children = [multiprocessing.get_context("fork").Process(target=process, args=(rank,)) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    assert "Initializing distributed" not in capfd.readouterr().err
    assert agree(gradient("one"), gradient("two"))
    assert not agree(gradient("one"), gradient("half"))


def test_two_batches_accumulate_to_one_of_both(step):
    train, gradient = step
    train("one", batch=4)
    train("two", batch=2, accumulate=2)
    assert agree(gradient("one"), gradient("two"))


@pytest.mark.parametrize("devices", ["many", "0", "1,x"])
def test_devices_that_make_no_sense_are_refused(tmp_path, devices):
    with pytest.raises(UsageError, match=f"--devices {devices}: "):
        launch(RunSettings(tmp_path, tmp_path, devices=devices))


def test_torchrun_decides_for_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun"):
        launch(RunSettings(tmp_path, tmp_path, devices="2"))


def test_what_a_step_draws_depends_on_seed_step_and_process_alone():
    drawn = []
    for numbers in ((0, 5, 0), (0, 5, 0), (1, 5, 0), (0, 6, 0), (0, 5, 1)):
        torch.rand(3)
        seed_step(*numbers)
        drawn.append(tuple(torch.rand(4).tolist()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4
