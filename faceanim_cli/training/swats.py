"""SWATS: from Adam to SGD (Keskar and Socher 2017, arXiv 1712.07628, Algorithm 1)."""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

ParameterGroups: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]


class SWATS(Optimizer):
    """Adam that turns itself into SGD with momentum, for each parameter group when its time has come.

    While a group is in Adam's phase, each of its steps p is projected on the gradient g: SGD would need the
    rate gamma = p.p / -(p.g) for its step to have p as its projection. Once the bias-corrected average of
    gamma has settled, ``|average - gamma| < tolerance``, that average becomes the group's SGD rate. All that
    the decision rests on is in ``state_dict``.

    A learning rate that changes from step to step is not in the paper. Gamma grows with it, so gamma / lr
    is averaged instead, and in SGD's phase the rate goes on following ``lr``: with a constant ``lr`` this is
    the paper's algorithm.

    Nor is ``share`` in the paper. Gamma depends on how large gradients are: of these networks' groups, on
    real clips, one has 0.05 and another 15, and it jumps by a tenth of itself from step to step. No step
    comes within 1e-9 of the average; one in a few hundred or thousand comes within a thousandth of it.

    Args:
        params: as for any optimizer; a group may have a ``name`` for the log.
        lr: alpha, Adam's rate.
        betas: decay of the averages of gradient and of squared gradient; the first is SGD's momentum too,
            the second averages gamma.
        eps: added to the root of the squared gradient's average.
        tolerance: the paper's other epsilon, compared with rates.
        share: settled is also what lies within this share of the average; 0 for the paper's algorithm.
        on_switch: told the group's name or number, its steps and its SGD rate.
    """

    def __init__(
        self,
        params: ParameterGroups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-9,
        tolerance: float = 1e-9,
        share: float = 0.0,
        on_switch: Callable[[str, int, float], None] | None = None,
    ) -> None:
        if lr <= 0 or eps <= 0 or tolerance <= 0 or share < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError("lr, eps and tolerance must be above 0, share at least 0, betas in [0, 1)")
        self.on_switch = on_switch
        defaults = {"lr": lr, "betas": betas, "eps": eps, "tolerance": tolerance, "share": share}
        # Steps taken; the average of gamma / lr, not yet bias-corrected; and what it was at the switch.
        super().__init__(params, {**defaults, "steps": 0, "average": 0.0, "sgd_rate": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("on_switch", None)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every group, each in its own phase."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            group["steps"] += 1
            if group["sgd_rate"] is not None:
                self._sgd_step(group, parameters)
                continue
            gamma = self._adam_step(group, parameters)
            if gamma is None:
                continue
            beta2, relative = group["betas"][1], gamma / group["lr"]
            group["average"] = beta2 * group["average"] + (1 - beta2) * relative
            corrected = group["average"] / (1 - beta2 ** group["steps"])
            near = max(group["tolerance"], group["share"] * corrected * group["lr"])
            settled = abs(corrected - relative) * group["lr"] < near
            if group["steps"] > 1 and settled and corrected > 0:
                group["sgd_rate"] = corrected
                for parameter in parameters:
                    self.state[parameter] = {"momentum": torch.zeros_like(parameter)}
                if self.on_switch is not None:
                    name = str(group.get("name", number))
                    self.on_switch(name, group["steps"], corrected * group["lr"])
        return loss

    def _adam_step(self, group: dict[str, Any], parameters: list[Tensor]) -> float | None:
        """Adam's step p of a group; gamma, or None where p and the gradient are at right angles."""
        beta1, beta2 = group["betas"]
        k = group["steps"]
        rate = group["lr"] * math.sqrt(1 - beta2**k) / (1 - beta1**k)
        squared, along = [], []
        for parameter in parameters:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if not state:
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            step = mean / (square.sqrt() + group["eps"]) * -rate
            parameter.add_(step)
            squared.append(step.square().sum())
            along.append((step * gradient).sum())
        # Summed where they are: one transfer from a GPU for each group and step.
        p_p, p_g = torch.stack((torch.stack(squared).sum(), torch.stack(along).sum())).tolist()
        return None if p_g == 0 else -p_p / p_g

    @staticmethod
    def _rate(group: dict[str, Any]) -> float:
        rate: float = group["sgd_rate"] * group["lr"]
        return rate

    def _sgd_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        beta1 = group["betas"][0]
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:  # had no gradient when its group switched
                self.state[parameter] = state = {"momentum": torch.zeros_like(parameter)}
            momentum = state["momentum"].mul_(beta1).add_(parameter.grad)
            parameter.add_(momentum, alpha=-(1 - beta1) * self._rate(group))
