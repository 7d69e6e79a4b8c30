"""How weights are kept and moved: in 32 bits, or in bf16 with stochastic rounding; optimizer states on the GPU or not.

Pure bf16 weights need stochastic rounding, or steps smaller than half a unit in the last place vanish (Zamirai et al.
2020, "Revisiting BFloat16 training"). The optimizer itself always works in 32 bits, on a few weights at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from core.engine.models import DTYPES
from core.engine.noise import seed_of

#: Weights moved together: few enough that their gradients are still in a processor's cache.
GROUP_WEIGHTS = 500_000

_NORMS = (torch.nn.LayerNorm, torch.nn.GroupNorm)


def settle(modules: Iterable[torch.nn.Module], weights: str, precision: str) -> None:
    """Bring parameters into the precision in which they are kept: trained ones `weights`, frozen ones `precision`.

    Frozen weights are read in the arithmetic's precision anyway. One tensor at a time is held twice. On a CPU frozen
    norms stay in 32 bits, for there torch takes wide and narrow inputs with wide weights, but no wide ones with narrow.
    """
    for module in modules:
        norms = {id(p) for part in module.modules() if isinstance(part, _NORMS) for p in part.parameters()}
        for parameter in module.parameters():
            kept = weights if parameter.requires_grad else precision
            if not parameter.requires_grad and parameter.device.type == "cpu" and id(parameter) in norms:
                kept = "fp32"
            parameter.data = parameter.data.to(DTYPES[kept])


def restore_precision(parameter: torch.Tensor, state: dict[str, Any] | None, saved: dict[str, Any]) -> None:
    """Give a parameter's loaded states the precision they were saved in, and the parameter's memory layout.

    torch and bitsandbytes bring loaded states into the parameter's precision, which would cut those of bf16 weights;
    fused optimizers walk weights and states side by side in memory.
    """
    for name, value in saved.items():
        if state is None or not isinstance(value, torch.Tensor) or not isinstance(state.get(name), torch.Tensor):
            continue
        device = state[name].device
        if value.shape == parameter.shape:
            state[name] = torch.empty_like(parameter, dtype=value.dtype, device=device).copy_(value)
        elif state[name].dtype != value.dtype:
            state[name] = value.to(device)


class Bundle:
    """Parameters of one group of the optimizer that move together.

    Attributes:
        number: Place among all bundles; the rounding's draws depend on it.
        waiting: How many of them have no gradient yet in this backward pass.
    """

    __slots__ = ("group", "number", "parameters", "waiting")

    def __init__(self, number: int, group: int, parameters: list[torch.Tensor]) -> None:
        self.number = number
        self.group = group
        self.parameters = parameters
        self.waiting = len(parameters)


def bundles(optimizer: torch.optim.Optimizer) -> list[Bundle]:
    """All parameters in the order in which the backward pass reaches them: the last first."""
    found: list[Bundle] = []
    for group, options in enumerate(optimizer.param_groups):
        chosen: list[torch.Tensor] = []
        for parameter in reversed(options["params"]):
            chosen.append(parameter)
            if sum(p.numel() for p in chosen) >= GROUP_WEIGHTS:
                found.append(Bundle(len(found), group, chosen))
                chosen = []
        if chosen:
            found.append(Bundle(len(found), group, chosen))
    return found


class Mover:
    """Moves weights by their gradients, a bundle or all at once, and leaves them in the precision they are kept in."""

    def __init__(self, optimizer: torch.optim.Optimizer, seed: int, offload: bool = False) -> None:
        """`seed` decides how bf16 weights are rounded; `offload` keeps the optimizer's states in the computer's RAM."""
        self._optimizer: Any = optimizer
        self._seed = seed
        self._offload = offload
        self._step = 0

    def begin(self, step: int) -> None:
        """Say which step comes: the same step rounds the same, also after a resume and in every process."""
        self._step = step

    def move(self, bundle: Bundle) -> None:
        """One call of the optimizer that sees these parameters only, under their group's present options."""
        groups = self._optimizer.param_groups
        self._optimizer.param_groups = [{**groups[bundle.group], "params": bundle.parameters}]
        try:
            self._call(bundle.parameters, bundle.number)
        finally:
            self._optimizer.param_groups = groups

    def move_together(self, parameters: Sequence[torch.Tensor]) -> None:
        """One call for all parameters, for optimizers that look at all of them at once."""
        self._call(parameters, 0)

    def _call(self, parameters: Sequence[torch.Tensor], number: int) -> None:
        with self._states_beside(parameters), _in_32_bits(parameters, (self._seed, self._step, number)):
            self._optimizer.step()

    @contextlib.contextmanager
    def _states_beside(self, parameters: Sequence[torch.Tensor]) -> Iterator[None]:
        """While inside, the states of these parameters are on the parameters' device; afterwards in RAM."""
        if not self._offload:
            yield
            return
        for parameter in parameters:
            _send(self._optimizer.state.get(parameter), parameter.device)
        yield
        for parameter in parameters:
            _send(self._optimizer.state.get(parameter), torch.device("cpu"))


def _send(state: dict[str, Any] | None, device: torch.device) -> None:
    """Put one parameter's states onto a device."""
    for name, value in (state or {}).items():
        if isinstance(value, torch.Tensor):
            state[name] = value.to(device)  # type: ignore[index]


@contextlib.contextmanager
def _in_32_bits(parameters: Sequence[torch.Tensor], key: tuple[int, ...]) -> Iterator[None]:
    """While inside, bf16 parameters and their gradients are in 32 bits; afterwards rounded back, without gradients."""
    narrow = [(p, p.data) for p in parameters if p.dtype == torch.bfloat16 and p.grad is not None]
    for parameter, kept in narrow:
        gradient, parameter.grad = parameter.grad, None
        parameter.data = kept.float()
        parameter.grad = gradient.float() if gradient is not None else None
    yield
    if not narrow:
        return
    source = torch.Generator(narrow[0][1].device).manual_seed(seed_of("rounding", *key))
    for parameter, kept in narrow:
        parameter.grad = None
        kept.copy_(rounded(parameter.data, source))
        parameter.data = kept


def rounded(tensor: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """A float32 tensor rounded to bf16, up or down by chance so that the mean is right; shape and layout are kept.

    Adds random bits below those that bf16 keeps and cuts them off; what is not finite stays as it is.
    """
    bits = tensor.view(torch.int32)
    noise = torch.empty_like(bits).random_(0, 1 << 16, generator=source)
    cut = (noise.add_(bits)).bitwise_and_(-(1 << 16)).view(torch.float32)
    return torch.where(torch.isfinite(tensor), cut, tensor).to(torch.bfloat16)
