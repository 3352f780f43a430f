"""Files of a training run: its state, and checkpoints (last, best, and a few before them)."""

import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from faceanim_cli.errors import FaceanimError, UsageError, WeightsError
from faceanim_cli.media import write_photo
from faceanim_cli.media.atomic_file import whole_file
from faceanim_cli.training.settings import RunSettings
from faceanim_cli.weights.checkpoint import save_checkpoint, stored_type
from faceanim_cli.weights.file_kind import read_metadata
from faceanim_cli.weights.inspect import identify


class Stateful(Protocol):
    """A network, its average, or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class RunFiles:
    """The files of one run in its folder.

    ``settings.json``; ``state.pt``, from which the run goes on; ``last.safetensors`` and, best by
    score on the validation people, ``best.safetensors``; the newest ``step-N.safetensors``; ``samples/``.
    Each is replaced in one go: a run that dies while it writes leaves what was there before.

    Args:
        settings: the run's; its folder is made.

    Raises:
        UsageError: it cannot be made.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.out, self.keep, self.notes = settings.out, settings.keep, settings.notes
        self.origin: dict[str, str] = {}  # of the weights it began from
        self.dtype = torch.float16  # that weights are saved as
        self.state_file = self.out / "state.pt"
        self.last, self.best = self.out / "last.safetensors", self.out / "best.safetensors"
        self.saved_step: int | None = None  # that the run would go on from
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write {self.out}: {error.strerror}; choose another -o") from error

    def begin(self, settings: RunSettings) -> None:
        """Write the effective settings, sweep up what a killed run had not finished, and look at ``init``.

        For the process that writes.

        Raises:
            WeightsError: ``init`` is no weights file.
        """
        for partial in self.out.glob(".*.partial-*"):
            partial.unlink(missing_ok=True)
        if settings.init is not None:
            self.origin = origin(settings.init)
            # First-order-model's are kept in float32: rounded to half, its pictures change visibly.
            self.dtype = stored_type(settings.init)
        with whole_file(self.out / "settings.json") as partial:
            partial.write_text(json.dumps(settings.as_json(), indent=2) + "\n")

    def load_state(self) -> dict[str, Any] | None:
        """What :meth:`save` was given last; None at the start of a run.

        Raises:
            WeightsError: the file is damaged.
        """
        if not self.state_file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state_file, map_location="cpu", weights_only=True)
            self.saved_step = int(state["step"])
        except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise WeightsError(
                f"{self.state_file}: damaged; without it, --init {self.last} starts from the last weights"
            ) from error
        return state

    def check_optimizer(self, state: Mapping[str, Any], settings: RunSettings) -> None:
        """Make sure that the run goes on with the optimizer it began with.

        Raises:
            UsageError: another one.
        """
        before = state.get("optimizer_name", settings.optimizer)
        if before != settings.optimizer:
            raise UsageError(f"{self.out} was trained with {before}: go on with --optimizer {before}")

    def restore(self, state: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
        """Bring networks and optimizers to where ``state`` left them.

        Raises:
            WeightsError: they are built otherwise than those that were saved.
        """
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise WeightsError(
                f"{self.state_file}: its {name} is built otherwise than this run's; choose another --out, "
                f"or the settings in {self.out / 'settings.json'}"
            ) from error

    def save(self, step: int, state: Mapping[str, Any], network: nn.Module) -> None:
        """Keep the state after ``step`` steps, and the averaged ``network``.

        Raises:
            FaceanimError: it cannot be written; what was there stays.
        """
        try:
            # Through a file of Python's, which says that a disk is full: torch's own writer does not.
            with whole_file(self.state_file) as partial, partial.open("wb") as file:
                torch.save({**state, "step": step}, file)
        except (OSError, RuntimeError, FaceanimError) as error:
            raise self._not_saved(self.state_file, error) from error
        self.saved_step = step
        numbered = self.out / f"step-{step:08}.safetensors"
        self._save_weights(self.last, step, network)
        if self.keep:
            self._save_weights(numbered, step, network)
        for old in sorted(self.out.glob("step-*.safetensors"))[: -self.keep or None]:
            old.unlink()

    def save_best(self, step: int, network: nn.Module, score: float) -> None:
        """Keep ``network``, the best so far.

        Raises:
            FaceanimError: it cannot be written; what was there stays.
        """
        self._save_weights(self.best, step, network, score=repr(score))

    def save_sample(self, step: int, picture: np.ndarray[Any, Any]) -> None:
        """Keep what the network made after ``step`` steps, uint8 RGB (H, W, 3)."""
        (self.out / "samples").mkdir(exist_ok=True)
        write_photo(self.out / "samples" / f"step-{step:08}.png", picture)

    def best_score(self) -> float:
        """The score of ``best.safetensors``; minus infinity without it."""
        return float(read_metadata(self.best).get("score", -math.inf)) if self.best.is_file() else -math.inf

    def _save_weights(self, file: Path, step: int, network: nn.Module, **notes: str) -> None:
        notes |= self.origin
        notes["trained"] = f"step {step}; {self.notes}" if self.notes else f"step {step}"
        try:
            save_checkpoint(file, network, dtype=self.dtype, notes=notes)
        except (OSError, SafetensorError, FaceanimError) as error:
            raise self._not_saved(file, error) from error

    def _not_saved(self, file: Path, error: Exception) -> FaceanimError:
        kept = "nothing is" if self.saved_step is None else f"the state of step {self.saved_step} is"
        if isinstance(error, FaceanimError):  # which says it all
            return FaceanimError(f"{error}; {kept} kept in {self.out}")
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        )
        return FaceanimError(f"cannot write {file} ({reason}): is the disk full? {kept} kept in {self.out}")


def origin(init: Path) -> dict[str, str]:
    """What weights that are trained from ``init`` say of it: whose they are stays with them.

    Raises:
        WeightsError: no weights file.
    """
    known = identify(init)
    digest = f" (SHA-256 {known.sha256})" if known.sha256 else ""
    notes = {"started_from": f"{init.name}{digest}"}
    if known.licence:
        notes["licence"] = known.licence
    return notes
