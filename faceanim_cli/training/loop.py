"""The training loop of every stage: one process or many, stopped at any time, resumed exactly.

What is trained, on what and for what, is a :class:`Stage`; the loop knows nothing of faces.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from faceanim_cli.errors import WeightsError
from faceanim_cli.training.devices import (
    autocast,
    launch,
    memory_explained,
    seed_step,
    synchronise_batch_norms,
)
from faceanim_cli.training.optim import Schedule, make_optimizer, moving_average
from faceanim_cli.training.progress import Curves, Listener, LossReport, TrainingResult
from faceanim_cli.training.run_files import RunFiles, Stateful
from faceanim_cli.training.settings import RunSettings
from faceanim_cli.training.signals import StopOnSignal, quiet_worker
from faceanim_cli.training.stage import Batch, Scores, Stage


class TrainedNetwork:
    """A network with the optimizer and the DistributedDataParallel that train it. A GAN has two.

    Args:
        name: in the run's state.
        network: whose weights are kept in the run's state.
        objective: holds the network; its forward gives the loss.
        optimizer: of the network's weights.
        fabric: sets both up.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        fabric: Fabric,
    ) -> None:
        self.name, self.optimizer = name, optimizer
        objective = synchronise_batch_norms(fabric, objective.to(memory_format=torch.channels_last))
        self.objective, self.fabric_optimizer = fabric.setup(objective, optimizer)
        self.parts: dict[str, Stateful] = {name: network, f"{name} optimizer": optimizer}


def train(
    settings: RunSettings, build: Callable[[Fabric], Stage], listener: Listener | None = None
) -> TrainingResult | None:
    """Train until ``max_steps``, ``max_minutes`` or a signal; go on where an earlier run in ``out`` stopped.

    On a CPU a run that was stopped goes on to the same weights, to the last bit, as one that was not.
    Besides the checkpoints (see :class:`RunFiles`) it writes sample grids and curves.

    Args:
        settings: the run's.
        build: makes the stage, once the processes are there and the seed is set.
        listener: who is told how it goes.

    Returns:
        What came out; None in all processes but the first.

    Raises:
        UsageError: settings that make no sense together, devices that are not there.
        WeightsError: the state in ``out`` does not fit; a loss is not finite.
        FaceanimError: out of memory; a full disk. And what ``build`` raises.
    """
    return _Run(settings, build, listener).train()


class _Run:
    def __init__(
        self, settings: RunSettings, build: Callable[[Fabric], Stage], listener: Listener | None
    ) -> None:
        self.settings = settings
        self.fabric = fabric = launch(settings)
        self.main = fabric.is_global_zero
        listener = (listener or Listener()) if self.main else Listener()
        self.report = listener.report
        self.files = RunFiles(settings)
        if self.main:
            self.files.begin(settings)

        self.stage = stage = build(fabric)
        average = moving_average(settings.ema)
        self.ema = AveragedModel(stage.network, multi_avg_fn=average, use_buffers=True).to(fabric.device)
        self.model = self._set_up("model", stage.network, stage.objective)
        self.trained = [self.model]
        self.discriminator: TrainedNetwork | None = None
        if stage.adversarial is not None:
            objective = stage.adversarial.objective
            self.discriminator = self._set_up("discriminator", objective, objective)
            self.trained.append(self.discriminator)
        self.scaler = torch.amp.GradScaler(fabric.device.type, enabled=settings.precision == "16")

        self.step, self.seen = 0, 0  # steps taken, pairs drawn
        self.pairs_a_step = settings.batch * settings.accumulate * fabric.world_size
        before = self._go_on()
        self.fresh, self.first_step = before is None, self.step
        self.progress = self.step / settings.max_steps
        self.schedule = Schedule(settings, before or 0.0)
        self.curves = Curves(settings.out / "curves", self.step, self.report) if self.main else None
        self.losses = LossReport(
            listener, self.schedule, self.curves, self.pairs_a_step, settings.max_steps, self.step
        )
        self.scores: Scores | None = None
        self.best = self.files.best_score()
        self.losses.best = self._best_in_words() if math.isfinite(self.best) else ""
        world = f"{fabric.world_size} x {settings.accumulate} x {settings.batch}"
        self.report(f"{stage.about}; {world} pairs a step")
        if stage.validate is None:
            self.report("nobody to validate on: nothing usable has split 'val'; no scores, no best weights")

    def train(self) -> TrainingResult | None:
        """See :func:`train`."""
        with StopOnSignal() as stop, memory_explained(self.settings):
            self._steps(stop)
        self.fabric.barrier()
        if not self.main:
            return None
        if self.curves is not None:
            self.curves.close()
        self.report(self.losses.summary(self.step))
        weights = self.files.best if self.files.best.is_file() else self.files.last
        return TrainingResult(self.step, weights, self.scores)

    def _steps(self, stop: StopOnSignal) -> None:
        """Steps until the run is over or ``stop`` is requested, saved and scored meanwhile and at the end."""
        batches = self._batches()
        last_validation = time.monotonic()
        rate = 0.0
        while True:
            # All processes must stop at the same step and learn at the same rate, so one of them decides.
            over, progress = self.schedule.at(self.step)
            over, self.progress = self.fabric.broadcast((over or stop.requested, progress), src=0)
            if over:
                break
            rate = self.schedule.rate(self.step, self.progress)
            terms = self._take_step(batches, rate)
            if self.main:
                self.losses.add(terms, self.step, self.progress, rate)
                if time.monotonic() - last_validation > self.settings.validate_minutes * 60:
                    self._save()
                    self._score()
                    last_validation = time.monotonic()
        if self.main:
            self.losses.flush(self.step, self.progress, rate)
            if self.step > self.first_step or self.fresh:
                self._save()
            if not stop.requested:  # who stops a run by hand does not wait for the scores
                self._score()

    def _set_up(self, name: str, network: nn.Module, objective: nn.Module) -> TrainedNetwork:
        s = self.settings
        optimizer = make_optimizer(s, network, self.report, self.stage.betas)
        return TrainedNetwork(name, network, objective, optimizer, self.fabric)

    def _go_on(self) -> float | None:
        """Bring all to where an earlier run stopped; how much of the schedule is behind, or None."""
        state = self.files.load_state()
        if state is None:
            return None
        self.files.check_optimizer(state, self.settings)
        self.files.restore(state, {**self.model.parts, "ema": self.ema})
        if self.discriminator is not None and self.discriminator.name in state:  # else it joins here
            self.files.restore(state, self.discriminator.parts)
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.seen = state["step"], state["pairs"]
        self.report(f"going on from step {self.step} of {self.files.state_file}")
        return float(state["progress"])

    def _batches(self) -> Iterator[Batch]:
        """The batches of this process, from where the run stands."""
        settings, fabric, seen = self.settings, self.fabric, self.seen
        total = seen + max(0, settings.max_steps - self.step) * self.pairs_a_step
        # Process r takes pairs r, r + world, ...: what a run sees depends on the pairs it has seen alone.
        mine = range(seen + fabric.global_rank, total, fabric.world_size)
        loader = DataLoader(
            Subset(self.stage.data(total), mine),
            settings.batch,
            num_workers=settings.workers,
            worker_init_fn=quiet_worker,
            generator=torch.Generator(),  # its start draws a seed: not from the step's numbers
            persistent_workers=settings.workers > 0,
            pin_memory=fabric.device.type == "cuda",  # copied to the GPU while it computes
        )
        on_device = cast(Iterable[Batch], fabric.setup_dataloaders(loader, use_distributed_sampler=False))
        for batch in on_device:  # images in the layout that convolutions like best
            yield {
                name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
                for name, t in batch.items()
            }

    def _take_step(self, batches: Iterator[Batch], rate: float) -> dict[str, Tensor]:
        """One step of all that is trained; the means of the loss terms."""
        settings = self.settings
        for trained in self.trained:
            for group in trained.optimizer.param_groups:
                group["lr"] = rate * group.get("rate_factor", 1.0)
        seed_step(settings.seed, self.step, self.fabric.global_rank)
        means: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        for part in range(settings.accumulate):
            # The processes average their gradients at the last part.
            terms = self._gradients(next(batches), losses, waiting=part < settings.accumulate - 1)
            for name, term in terms.items():
                means[name] = means.get(name, 0) + term / settings.accumulate
        norms = [self._clip_gradient(trained) for trained in self.trained]
        self._check_finite(losses, norms, means)
        for trained in self.trained:
            # The optimizer itself, not Fabric's wrapper: a fused one reads from its own attributes whether
            # the scaler leaves the step out, and the scaler knows by it that the gradients were unscaled.
            self.scaler.step(trained.optimizer)
            trained.optimizer.zero_grad()
        self.scaler.update()
        self.ema.update_parameters(self.stage.network)
        self.step += 1
        self.seen += self.pairs_a_step
        return means

    def _gradients(self, batch: Batch, losses: list[Tensor], waiting: bool) -> dict[str, Tensor]:
        """Gradients of one batch; ``waiting``: of this process alone so far. Returns the loss terms, and
        adds what they came to to ``losses``."""
        fabric, adversarial = self.fabric, self.stage.adversarial
        terms: dict[str, Tensor]
        with fabric.no_backward_sync(self.model.objective, enabled=waiting):
            with autocast(fabric, self.settings.precision):
                loss, terms, generated = self.model.objective(batch)
                if adversarial is not None:
                    real, fake = adversarial.windows(batch, generated)
                    on_top, more = adversarial.generator_loss(real, fake)
                    loss, terms = loss + on_top, terms | more
            losses.append(self._backward(loss))
        if self.discriminator is not None:
            with fabric.no_backward_sync(self.discriminator.objective, enabled=waiting):
                with autocast(fabric, self.settings.precision):
                    loss = self.discriminator.objective(real, fake.detach())
                losses.append(self._backward(loss))
                terms["discriminator"] = loss.detach()
        return terms

    def _backward(self, loss: Tensor) -> Tensor:
        """Gradients of a loss on top of those that are there; gives the loss back, detached."""
        self.fabric.backward(self.scaler.scale(loss / self.settings.accumulate))
        return loss.detach()

    def _clip_gradient(self, trained: TrainedNetwork) -> Tensor:
        """Shorten the gradient to what the settings allow; its norm before."""
        self.scaler.unscale_(trained.optimizer)
        norm = self.fabric.clip_gradients(
            trained.objective,
            trained.fabric_optimizer,
            max_norm=self.settings.clip_gradients,
            error_if_nonfinite=False,
        )
        assert norm is not None
        return norm

    def _check_finite(
        self, losses: Sequence[Tensor], norms: Sequence[Tensor], terms: Mapping[str, Tensor]
    ) -> None:
        """Whether a step can be taken. Asked once, when all is computed: a GPU stands idle meanwhile.

        Raises:
            WeightsError: a loss or a gradient is not finite, before it spoils the weights; it names the
                terms that are not, in the order they came.
        """
        # A scaler that is too high leaves the step out and comes down: that is how it works.
        seen = torch.stack([*losses, *norms]).isfinite().tolist()
        good, followed = all(seen[: len(losses)]), all(seen[len(losses) :])
        if not good:
            worst = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise self._not_finite(", ".join(worst) or "their sum")
        if not followed and not self.scaler.is_enabled():
            raise self._not_finite("the gradient of losses that are")

    def _not_finite(self, what: str) -> WeightsError:
        files = self.files
        if files.saved_step is None:
            advice = "nothing was trained yet; look at --data and --init"
        else:
            good = f"its good checkpoint of step {files.saved_step}"
            advice = f"with a lower --learning-rate the run goes on from {good}"
        return WeightsError(f"{files.out}: not finite at step {self.step}: {what}; {advice}")

    def _best_in_words(self) -> str:
        return f"{-self.best if self.stage.lower_is_better else self.best:.2f} {self.stage.unit}"

    def _save(self) -> None:
        parts: dict[str, Stateful] = {"ema": self.ema}
        for trained in self.trained:
            parts |= trained.parts
        state = {name: part.state_dict() for name, part in parts.items()}
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        more = {"progress": self.progress, "pairs": self.seen, "optimizer_name": self.settings.optimizer}
        self.files.save(self.step, {**state, **more}, self.ema.module)

    def _score(self) -> None:
        validate, step = self.stage.validate, self.step
        if validate is None:
            return
        with autocast(self.fabric, self.settings.precision):
            scores, picture = validate(self.ema.module.eval())
        self.scores = scores
        self.report(f"step {step}: validation {scores}")
        if picture is not None:
            self.files.save_sample(step, picture)
        if self.curves is not None:
            self.curves.add("validation", vars(scores), step)
            if picture is not None:
                self.curves.add_picture("samples", picture, step)
        if scores.value > self.best:
            self.best = scores.value
            self.losses.best = f"{self._best_in_words()} at step {step}"
            self.files.save_best(step, self.ema.module, self.best)
