"""A run that was stopped, in whatever way, goes on as if it had not been; and what it had kept is kept."""

import errno
import itertools
import math
import multiprocessing
import os
import resource
import signal
from types import SimpleNamespace

import pytest
import torch

from faceanim_cli.data.pairs import PairDataset
from faceanim_cli.errors import FaceanimError, UsageError, WeightsError
from faceanim_cli.training import optim, run_files
from faceanim_cli.training.motion_losses import MotionObjective
from faceanim_cli.training.progress import LossReport
from faceanim_cli.training.run_files import RunFiles
from faceanim_cli.training.settings import LossWeights, RunSettings
from tests.training.conftest import same, state_of, write_data

STEPS, STOP = 5, 3  # of a whole run; where it is stopped


@pytest.fixture(scope="module")
def nobody_to_score(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("train"), [("anna", "train", 6), ("ben", "train", 6)])


@pytest.fixture
def run(run, nobody_to_score):
    """Everything that has a state: a discriminator, dropped boxes, pairs that move by the landmarks."""
    options = {
        "data": nobody_to_score,
        "cache": nobody_to_score / "cache",
        "perceptual": "none",
        "losses": LossWeights(adversarial=0.1, equivariance=1.0, landmark_motion=0.5),
        "discriminator_side": 32,
        "max_steps": STEPS,
    }
    return lambda **changes: run(**{**options, **changes})


@pytest.fixture
def losses(monkeypatch):
    """The terms of every step, to the last bit."""
    seen = []
    add = LossReport.add

    def remember(self, terms, step, *rest):
        seen.append((step, {name: float(term) for name, term in terms.items()}))
        add(self, terms, step, *rest)

    monkeypatch.setattr(LossReport, "add", remember)
    return seen


def by_signal(number):
    def stop(monkeypatch):
        calls = itertools.count(1)

        def interrupted(progress):
            if next(calls) == STOP:
                signal.raise_signal(number)
            return 1 - progress

        monkeypatch.setattr(optim, "learning_rate_factor", interrupted)
        return {}

    return stop


def by_the_clock(monkeypatch):
    half_minutes = itertools.count(0, 30)
    monkeypatch.setattr(optim, "time", SimpleNamespace(monotonic=lambda: next(half_minutes)))
    return {"max_minutes": 2.0}  # asked at half a minute, one, one and a half, two


@pytest.mark.parametrize(
    ("stop", "optimizer"),
    [(by_signal(signal.SIGINT), "adam"), (by_signal(signal.SIGTERM), "swats"), (by_the_clock, "swats")],
    ids=["Ctrl-C", "TERM", "time"],
)
def test_losses_go_on_to_the_last_bit(run, tmp_path, losses, monkeypatch, stop, optimizer):
    monkeypatch.setattr(optim, "learning_rate_factor", lambda progress: 1 - progress)
    run(out=tmp_path / "whole", optimizer=optimizer)
    whole = list(losses)
    losses.clear()
    with monkeypatch.context() as patch:
        run(out=tmp_path / "parts", optimizer=optimizer, **stop(patch))
    assert state_of(tmp_path / "parts")["step"] == STOP
    torch.rand(7)  # whatever else drew in the meantime
    monkeypatch.setattr(optim, "learning_rate_factor", lambda progress: 1 - progress)
    run(out=tmp_path / "parts", optimizer=optimizer)
    assert losses == whole
    assert [step for step, _ in whole] == list(range(1, STEPS + 1))
    assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))


def test_sigterm_to_all_processes_leaves_time_to_save(run, tmp_path, monkeypatch):
    def to_all(progress):  # as torchrun and SLURM do
        for process in multiprocessing.active_children():
            told.append(process.pid)
            os.kill(process.pid, signal.SIGTERM)
        if told:
            signal.raise_signal(signal.SIGTERM)
        return 1.0

    told: list[int] = []
    monkeypatch.setattr(optim, "learning_rate_factor", to_all)
    run(workers=1, batch=1, accumulate=4)  # more than was loaded ahead
    assert told
    assert state_of(tmp_path / "run")["step"] == 2


def test_a_kill_in_the_middle_of_a_save_costs_nothing_that_was_saved(run, tmp_path, losses):
    run(out=tmp_path / "whole")
    whole = list(losses)

    def killed():
        saves = itertools.count(1)
        save = torch.save

        def half(state, file):
            save(state, file)
            if next(saves) == STOP:
                file.truncate(file.tell() // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        run_files.torch.save = half
        run(out=tmp_path / "parts", validate_minutes=0)  # a save after every step

    child = multiprocessing.get_context("fork").Process(target=killed)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert state_of(tmp_path / "parts")["step"] == STOP - 1
    assert list((tmp_path / "parts").glob(".*.partial-*"))
    losses.clear()
    run(out=tmp_path / "parts")
    assert losses == whole[STOP - 1 :]
    assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))
    assert not list((tmp_path / "parts").glob(".*.partial-*"))


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="choose another -o"):
        RunFiles(RunSettings(data=tmp_path, out=tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_costs_nothing_that_was_saved(run, tmp_path):
    run(max_steps=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(FaceanimError, match=r"state\.pt: File too large; the state of step 1 is kept"):
            run(max_steps=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    del before["settings.json"], after["settings.json"]
    assert after == before


def test_no_space_says_what_is_kept(run, tmp_path, monkeypatch):
    run(max_steps=1)
    before = (tmp_path / "run" / "state.pt").read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for where in ("torch.save", "save_checkpoint"):
        with monkeypatch.context() as patch, pytest.raises(FaceanimError) as caught:
            patch.setattr(f"faceanim_cli.training.run_files.{where}", full)
            run(max_steps=2)
        said = str(caught.value)
        assert "\n" not in said
        assert "space" in said or "full" in said
        step = 1 if where == "torch.save" else 2  # the state is saved first
        assert f"the state of step {step} is kept in {tmp_path / 'run'}" in said
        if where == "torch.save":
            assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_pairs_go_on_where_they_were_in_batches_of_another_size(run, monkeypatch):
    drawn = []
    get = PairDataset.__getitem__
    monkeypatch.setattr(PairDataset, "__getitem__", lambda self, i: drawn.append(i) or get(self, i))
    run(batch=2, max_steps=2)
    run(batch=1, accumulate=3, max_steps=3)
    assert drawn == [0, 1, 2, 3, 4, 5, 6]


class TestGoneWrong:
    def test_nan_stops_at_the_last_good_checkpoint_and_names_the_loss(self, run, tmp_path, monkeypatch):
        run(max_steps=2)
        monkeypatch.setattr(
            MotionObjective, "_motion_where_still", lambda *_: torch.tensor(math.nan, requires_grad=True)
        )
        with pytest.raises(WeightsError, match=r"step 2: still; .* checkpoint of step 2$"):
            run(max_steps=4)
        assert all(t.isfinite().all() for t in state_of(tmp_path / "run")["model"].values())

    def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(self, run, tmp_path, monkeypatch):
        run(max_steps=2)

        def vertical(source, driving, grid):  # 0, with a slope of NaN
            return (grid - grid.detach()).square().sum().sqrt()

        monkeypatch.setattr(MotionObjective, "_motion_where_still", staticmethod(vertical))
        with pytest.raises(WeightsError, match=r"step 2: the gradient .* checkpoint of step 2$"):
            run(max_steps=4)
        assert state_of(tmp_path / "run")["step"] == 2

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        ],
    )
    def test_out_of_memory_says_what_to_do(self, run, monkeypatch, error):
        def forward(*_):
            raise error

        monkeypatch.setattr(MotionObjective, "forward", forward)
        with pytest.raises(
            FaceanimError, match=r"^out of memory with batches of 2: try --batch 1 --accumulate 2"
        ):
            run()

    def test_other_faults_stay_what_they_are(self, run, monkeypatch):
        def forward(*_):
            raise RuntimeError("size mismatch")

        monkeypatch.setattr(MotionObjective, "forward", forward)
        with pytest.raises(RuntimeError, match="size mismatch"):
            run()

    def test_a_damaged_state_is_named(self, run, tmp_path):
        run(max_steps=1)
        state = tmp_path / "run" / "state.pt"
        os.truncate(state, state.stat().st_size // 2)
        with pytest.raises(WeightsError, match=r"state\.pt: damaged; .*--init"):
            run(max_steps=2)

    def test_another_optimizer_is_refused(self, run):
        run(max_steps=1)
        with pytest.raises(UsageError, match="go on with --optimizer adam"):
            run(max_steps=2, optimizer="swats")


class TestFiles:
    def test_keep_best_last_and_the_newest(self, tmp_path, model):
        files = RunFiles(RunSettings(tmp_path, tmp_path / "run", keep=2))
        for step in (9, 10, 100):
            files.save(step, {}, model)
        files.save_best(10, model, 21.5)
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
            *("best.safetensors", "last.safetensors", "state.pt"),
            *("step-00000010.safetensors", "step-00000100.safetensors"),
        ]
        assert files.best_score() == 21.5

    def test_no_numbered_ones(self, tmp_path, model):
        files = RunFiles(RunSettings(tmp_path, tmp_path, keep=0))
        files.save(1, {}, model)
        assert not list(tmp_path.glob("step-*"))

    def test_no_best_yet(self, tmp_path):
        assert RunFiles(RunSettings(tmp_path, tmp_path)).best_score() == -math.inf
