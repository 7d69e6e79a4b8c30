"""DeepSpeed's ZeRO, stages 1 and 2: states, and gradients, split over the processes; what is saved is whole again.

Rajbhandari et al. 2020, "ZeRO: Memory optimizations toward training trillion parameter models". DeepSpeed puts all
trained weights of a group in a row and gives each process a stretch of it, in 32 bits, to keep and to move; afterwards
all get the moved weights. With bf16 arithmetic the weights that the model computes with are bf16. Stage 3 is what
core/engine/sharding.py does. DeepSpeed is driven directly: accelerate's plugin would move the weights inside backward.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.distributed import all_reduce, get_rank

from core.errors import UserError
from core.estimate.memory import ZERO_BUCKET_WEIGHTS
from core.settings import Settings


class Zero:
    """The trained weights and the optimizer in DeepSpeed's hands, and the way back to whole tensors.

    All methods must be called in every process at once.

    Attributes:
        parameters: The trained parameters of the model, in the order of a training state.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[torch.nn.Parameter],
        config: Mapping[str, Any],
    ) -> None:
        """Takes over `module`, whose trained `parameters` are those of `optimizer`. UserError without DeepSpeed."""
        self.parameters = list(parameters)
        self._device = self.parameters[0].device
        deepspeed = require_deepspeed(self._device)
        self._order = [list(group["params"]) for group in optimizer.param_groups]
        masters = [parameter.detach().to("cpu", torch.float32, copy=True) for parameter in self.parameters]
        self._engine = deepspeed.initialize(model=module, optimizer=optimizer, config=dict(config))[0]
        self._optimizer = optimizer
        self.take_weights(masters)  # DeepSpeed has made them of weights that were bf16 already

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add a micro-batch's gradients up; after the `last` one they are exchanged."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss)

    def step(self) -> torch.Tensor:
        """Clip, move the weights, and free the gradients; the gradient's length before clipping, a scalar."""
        self._engine.step()
        return torch.as_tensor(self._engine.get_global_grad_norm()).float().detach()

    def take_weights(self, weights: Sequence[torch.Tensor]) -> None:
        """Put whole weights, in the order of `parameters`, into the model and into what this process keeps of them."""
        weight_of = {}
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.data.copy_(weight)
            weight_of[id(parameter)] = weight
        for number, group in enumerate(self._order):
            self._cut(group, self._flat(number), [weight_of[id(parameter)] for parameter in group])

    def whole_weights(self) -> list[torch.Tensor]:
        """All trained weights in 32 bits, in the RAM of rank 0 and in the order of `parameters`; [] elsewhere."""
        weight_of = {}
        for number, group in enumerate(self._order):
            for parameter, weight in zip(group, self._join(group, self._flat(number)), strict=False):
                weight_of[id(parameter)] = weight
        return [weight_of[id(parameter)] for parameter in self.parameters if weight_of]

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """While inside, the parameters of rank 0 hold the weights in 32 bits, in RAM, so that they can be saved."""
        kept = [parameter.data for parameter in self.parameters]
        for parameter, weight in zip(self.parameters, self.whole_weights(), strict=False):
            parameter.data = weight
        try:
            yield
        finally:
            for parameter, data in zip(self.parameters, kept, strict=True):
                parameter.data = data

    def whole_state(self) -> dict[str, Any]:
        """The optimizer's state_dict() as if it were alone, with whole tensors in RAM; {} where this is not rank 0."""
        saved = self._optimizer.state_dict()
        state: dict[int, dict[str, Any]] = {}
        groups, first = [], 0
        for number, (group, options) in enumerate(zip(self._order, saved["param_groups"], strict=True)):
            flat = self._flat(number)
            for key, value in self._optimizer.state.get(flat, {}).items():
                split = isinstance(value, torch.Tensor) and value.shape == flat.shape
                whole = self._join(group, value) if split else [_copy(value) for _ in group]
                for place, part in enumerate(whole, first):
                    state.setdefault(place, {})[key] = part
            groups.append({**options, "params": list(range(first, first + len(group)))})
            first += len(group)
        return {"state": state, "param_groups": groups} if get_rank() == 0 else {}

    def take_state(self, saved: Mapping[str, Any]) -> None:
        """Put a whole state_dict() of such an optimizer back, whoever saved it."""
        state: dict[int, dict[str, Any]] = {}
        own, first = self._optimizer.state_dict()["param_groups"], 0
        for number, group in enumerate(self._order):
            parts = [saved["state"].get(place, {}) for place in range(first, first + len(group))]
            first += len(group)
            for key, value in parts[0].items():
                if isinstance(value, torch.Tensor) and value.ndim:
                    joined = torch.zeros_like(self._flat(number), dtype=value.dtype)
                    self._cut(group, joined, [part[key] for part in parts])
                    value = joined
                state.setdefault(number, {})[key] = value
        options = [{**group, "params": mine["params"]} for group, mine in zip(saved["param_groups"], own, strict=True)]
        self._optimizer.load_state_dict({"state": state, "param_groups": options})

    def _flat(self, group: int) -> torch.Tensor:
        """This process's stretch of a group's weights, in 32 bits."""
        stretch: torch.Tensor = self._optimizer.param_groups[group]["params"][0]
        return stretch

    def _cut(self, group: Sequence[Any], flat: torch.Tensor, whole: Sequence[torch.Tensor]) -> None:
        """Copy into a stretch what belongs there of whole tensors."""
        for parameter, tensor in zip(group, whole, strict=True):
            if parameter._hp_mapping is not None:
                mine, there = parameter._hp_mapping.lp_fragment_address, parameter._hp_mapping.hp_fragment_address
                part = tensor.detach().reshape(-1).narrow(0, mine.start, mine.numel)
                flat.data.narrow(0, there.start, there.numel).copy_(part)

    def _join(self, group: Sequence[Any], flat: torch.Tensor) -> list[torch.Tensor]:
        """The whole tensors that all processes have stretches of, in the RAM of rank 0; [] elsewhere."""
        found = []
        for parameter in group:
            whole = torch.zeros(parameter.numel(), dtype=flat.dtype, device=self._device)
            if parameter._hp_mapping is not None:
                mine, there = parameter._hp_mapping.lp_fragment_address, parameter._hp_mapping.hp_fragment_address
                whole.narrow(0, mine.start, mine.numel).copy_(flat.detach().narrow(0, there.start, there.numel))
            all_reduce(whole)
            if get_rank() == 0:
                found.append(whole.reshape(parameter.shape).cpu())
        return found


def zero_config(settings: Settings, precision: str, processes: int) -> dict[str, Any]:
    """What DeepSpeed is told; the learning rates and the sum over micro-batches are our own."""
    training, hardware = settings.training, settings.hardware
    zero: dict[str, Any] = {"stage": hardware.zero_stage}
    zero.update(reduce_bucket_size=ZERO_BUCKET_WEIGHTS, allgather_bucket_size=ZERO_BUCKET_WEIGHTS)
    if hardware.offload_states:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": training.batch_size,
        "train_batch_size": training.batch_size * processes,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": training.clip_norm,
        "bf16": {"enabled": precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def require_deepspeed(device: torch.device) -> Any:
    """The library; UserError where it is not installed or cannot work here."""
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    try:
        import deepspeed
    except Exception as error:  # it looks for compilers and drivers while it is imported
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise UserError(
            f"hardware.parallel = 'deepspeed', but DeepSpeed {reason}. Install it into Burnish's environment "
            "with '.venv/bin/python -m pip install deepspeed', or choose fsdp, which needs nothing more."
        ) from error
    return deepspeed


def _copy(value: Any) -> Any:
    """A value of a state that nobody else holds."""
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) and not value.ndim else value
