"""FSDP: weights, gradients and optimizer states split over the processes; what is saved is whole again.

torch's fully_shard (FSDP2; Zhao et al. 2023, "PyTorch FSDP", and ZeRO-3 before it) gathers a block's weights just
before they are needed. The optimizer, the EMA and the rounding of bf16 weights see this process's share as plain
tensors, so they work as on one GPU wherever an element's step does not depend on the others. accelerate's own FSDP
cannot run on a CPU, raises bf16 weights to 32 bits and gathers only below one root, which sampling does not call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed import all_reduce, broadcast_object_list, get_rank, get_world_size
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard

#: Classes of diffusers and transformers whose weights are gathered together; the rest of a part is one group.
BLOCKS = ("BasicTransformerBlock", "ResnetBlock2D", "CLIPEncoderLayer")


@dataclass(frozen=True, slots=True)
class _Place:
    """A trained weight: the split one, this process's rows of it, and the module that holds it."""

    split: DTensor
    local: torch.nn.Parameter
    owner: torch.nn.Module
    leaf: str


class Shares:
    """The trained weights of a model that is split over all processes, and the way between shares and whole tensors.

    Rows are shared out: of n rows in w processes each has ceil(n / w), the last ones fewer or none. All methods but
    `cut` and `local_state` must be called in every process at once.

    Attributes:
        groups: This process's shares by part, in the order of the given groups; plain parameters in the model's memory.
    """

    def __init__(
        self, parts: Mapping[str, torch.nn.Module], groups: Mapping[str, Sequence[torch.nn.Parameter]], device: str
    ) -> None:
        """Splits the modules in place. `parts` are those that a step runs through, `groups` what is trained of them."""
        self.rank, self._processes = get_rank(), get_world_size()
        self._device = device
        self._mesh = init_device_mesh(device, (self._processes,))
        self._modules = list(parts.values())
        names = {part: _names(parts[part], chosen) for part, chosen in groups.items()}
        for module in self._modules:
            _split(module, self._mesh)
        found = {part: [_place(parts[part], name) for name in names[part]] for part in names}
        self._places = [place for places in found.values() for place in places]
        originals = [parameter for chosen in groups.values() for parameter in chosen]
        self._number_of = {id(parameter): number for number, parameter in enumerate(originals)}
        self._order: list[list[int]] = []
        self.groups = {part: [place.local for place in places] for part, places in found.items()}

    def for_optimizer(self, groups: Sequence[Sequence[torch.nn.Parameter]]) -> list[list[torch.nn.Parameter]]:
        """The shares of the optimizer's groups, which are given as the parameters that there were before the split.

        Shares without rows are left out: not every optimizer can step them.
        """
        self._order = [[self._number_of[id(parameter)] for parameter in group] for group in groups]
        locals_ = [[self._places[number].local for number in group] for group in self._order]
        return [[share for share in group if share.numel()] for group in locals_]

    def take_gradients(self) -> None:
        """Give the shares the gradients that the backward pass left at the split weights."""
        for place in self._places:
            gradient = place.split.grad
            if isinstance(gradient, DTensor):
                place.local.grad = gradient.to_local()
                place.split.grad = None

    def norm(self) -> torch.Tensor:
        """Length of the whole gradient, a scalar."""
        gradients = [place.local.grad for place in self._places if place.local.grad is not None]
        own = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        square = own.to(self._device, torch.float32).square()
        all_reduce(square)
        return square.sqrt()

    def cut(self, number: int, whole: torch.Tensor) -> torch.Tensor:
        """This process's rows of a tensor in the shape of trained weight `number`."""
        rows = -(-self._places[number].split.shape[0] // self._processes)
        return whole[self.rank * rows : (self.rank + 1) * rows]

    def whole(self, number: int, share: torch.Tensor) -> torch.Tensor:
        """The tensor that all processes have a share of, in the shape of trained weight `number`; on the device."""
        split = self._places[number].split
        share = share.detach().to(self._device).contiguous()
        joined = DTensor.from_local(
            share, self._mesh, [Shard(0)], run_check=False, shape=split.shape, stride=split.stride()
        )
        return joined.full_tensor()

    def gather(self, shares: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Whole tensors in the RAM of rank 0, one by one, of a share for each trained weight; [] in other processes."""
        found = []
        for number, share in enumerate(shares):
            whole = self.whole(number, share)
            if self.rank == 0:
                found.append(whole.cpu())
        return found

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """While inside, the modules of rank 0 hold the whole trained weights, in RAM, so that they can be saved."""
        self._reshard()
        weights = self.gather([place.local for place in self._places])
        for place, weight in zip(self._places, weights, strict=False):
            place.owner._parameters[place.leaf] = torch.nn.Parameter(weight)
        try:
            yield
        finally:
            for place in self._places:
                place.owner._parameters[place.leaf] = place.split  # type: ignore[assignment]

    def _reshard(self) -> None:
        """Let go of weights that are gathered still, so that the modules' parameters are the split ones."""
        for module in self._modules:
            for child in module.modules():
                if isinstance(child, FSDPModule):
                    child.reshard()

    def whole_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The optimizer's state_dict() as if it were alone, with whole tensors in RAM; {} where this is not rank 0.

        Such a state fits any number of processes.
        """
        saved = optimizer.state_dict()
        numbers = self._numbers(optimizer)
        own = {numbers[index]: values for index, values in saved["state"].items()}
        plan = [[self._plan(own.get(number, {}), place) for number, place in enumerate(self._places)]]
        broadcast_object_list(plan, src=0)
        state: dict[int, dict[str, Any]] = {}
        for index, number in enumerate(n for group in self._order for n in group):
            place, values = self._places[number], {}
            for key, dtype in plan[0][number].items():
                value = own.get(number, {}).get(key)
                if dtype is not None:
                    share = value if value is not None else torch.empty(place.local.shape, dtype=dtype)
                    value = self.whole(number, share)
                    value = value.cpu() if self.rank == 0 else None
                values[key] = value
            if values:
                state[index] = values
        if self.rank:
            return {}
        return {"state": state, "param_groups": self._whole_groups(saved["param_groups"])}

    def _plan(self, values: Mapping[str, Any], place: _Place) -> dict[str, torch.dtype | None]:
        """What of a weight's state is split (its precision), and what is the same everywhere (None)."""
        plan: dict[str, torch.dtype | None] = {}
        for key, value in values.items():
            is_split = isinstance(value, torch.Tensor) and value.ndim > 0
            if is_split and value.shape != place.local.shape:
                raise RuntimeError(f"the optimizer's state {key} has another shape than its weight and cannot be split")
            plan[key] = value.dtype if is_split else None
        return plan

    def local_state(self, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
        """This process's part of a whole state_dict(), for its load_state_dict()."""
        index_of = {number: index for index, number in enumerate(n for group in self._order for n in group)}
        state = {}
        for own_index, number in enumerate(self._numbers(optimizer)):
            if index_of[number] in saved["state"]:
                state[own_index] = {
                    key: self.cut(number, value) if isinstance(value, torch.Tensor) and value.ndim else value
                    for key, value in saved["state"][index_of[number]].items()
                }
        own = optimizer.state_dict()["param_groups"]
        options = [{**group, "params": mine["params"]} for group, mine in zip(saved["param_groups"], own, strict=True)]
        return {"state": state, "param_groups": options}

    def _numbers(self, optimizer: torch.optim.Optimizer) -> list[int]:
        """For each parameter of the optimizer its number among the trained weights."""
        number_of = {id(place.local): number for number, place in enumerate(self._places)}
        return [number_of[id(p)] for group in optimizer.param_groups for p in group["params"]]

    def _whole_groups(self, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """An optimizer's groups with the numbers of all trained weights in them."""
        found, first = [], 0
        for group, numbers in zip(groups, self._order, strict=True):
            found.append({**group, "params": list(range(first, first + len(numbers)))})
            first += len(numbers)
        return found


def _names(module: torch.nn.Module, chosen: Sequence[torch.nn.Parameter]) -> list[str]:
    """The chosen parameters' names in their module."""
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    return [name_of[id(parameter)] for parameter in chosen]


def _split(module: torch.nn.Module, mesh: DeviceMesh) -> None:
    """Split a part's weights over the processes: a group for each block, one for the rest.

    The rest stays gathered after the forward pass: it is small, and a text encoder's last norm is called apart.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # rows of channels-last convolutions cannot be shared out
    for child in list(module.modules()):
        if type(child).__name__ in BLOCKS:
            fully_shard(child, mesh=mesh)
    kind = type(module)
    fully_shard(module, mesh=mesh, reshard_after_forward=False)
    # transformers looks up by the name of its class which outputs a model can give; FSDP has put another one there.
    type(module).__module__, type(module).__qualname__ = kind.__module__, kind.__qualname__


def _place(part: torch.nn.Module, name: str) -> _Place:
    owner, _, leaf = name.rpartition(".")
    module = part.get_submodule(owner)
    split: Any = module._parameters[leaf]
    return _Place(split, torch.nn.Parameter(split.detach().to_local()), module, leaf)
