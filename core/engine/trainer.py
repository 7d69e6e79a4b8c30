"""One step of training: forward, loss, backward, clip, optimizer. Knows tensors only; no files, no events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch._dynamo.exc import TorchDynamoException

from core import paths, registry
from core.checks import FUSED_ALONE, FUSED_FP16, SPLIT_FP16
from core.engine.attention import set_attention
from core.engine.distributed import partitions, shards
from core.engine.ema import Ema, shown
from core.engine.fused_backward import FusedBackward
from core.engine.guard import compile_advice
from core.engine.kept_draws import Uses
from core.engine.loader import Batch
from core.engine.models import Models, autocast
from core.engine.norms import guard_norms
from core.engine.objective import Objective
from core.engine.rate_groups import RateGroup, rate_groups
from core.engine.sharding import Shares
from core.engine.text_states import Conditioning, TextStates
from core.engine.weights import Mover, bundles, settle
from core.engine.zero import Zero, zero_config
from core.errors import UserError
from core.settings import Settings

#: (loss, gradient's length) -> whether the weights must not move by it.
Refuse = Callable[[float, float], bool]


class Denoiser(torch.nn.Module):
    """UNet, and the text encoders when one is trained, as one module, so that DDP sees one forward and one backward."""

    def __init__(self, models: Models, with_text: bool, clip_skip: int) -> None:
        super().__init__()
        self.unet = models.unet
        self.text_encoders = torch.nn.ModuleDict(models.text_encoders if with_text else {})
        self._family = models.family
        self._clip_skip = clip_skip

    def forward(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        states: Conditioning | None,
        tokens: torch.Tensor | None,
        sizes: torch.Tensor,
    ) -> torch.Tensor:
        """The prediction (b, 4, h, w) for noisy latents of that shape; conditioning by states or by tokens."""
        if tokens is not None:
            states = self._family.encode_tokens(self.text_encoders, tokens, self._clip_skip)
        arguments = self._family.unet_arguments(states or {}, sizes)
        predicted: torch.Tensor = self.unet(noisy, timesteps, **arguments, return_dict=False)[0]
        return predicted


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave; tensors, so that a GPU need not be waited for.

    Attributes:
        loss: Mean training loss over the effective batch, as if unweighted by padding; scalar.
        grad_norm: Length of the gradient before clipping; scalar.
        images: Pictures of the step over all processes.
        moved: Whether the weights moved; not when the gradient was refused.
        uses: This process's pictures, micro-batch by micro-batch.
    """

    loss: torch.Tensor
    grad_norm: torch.Tensor
    images: int
    rates: dict[str, float]
    moved: bool = True
    uses: list[Uses] = field(default_factory=list)


class Trainer:
    """Holds the trained modules and the optimizer, and takes steps.

    Attributes:
        groups: Trained parameters by part ("unet", "text_encoder"); with FSDP this process's rows of them.
        shares: The split weights with FSDP, else None.
        zero: DeepSpeed's hold on the weights, where it is chosen.
        ema: The average of the weights, where one is kept.
        texts: Conditioning by the frozen text encoders; None when one of them is trained.
    """

    def __init__(
        self, models: Models, settings: Settings, accelerator: Accelerator, precision: str, fresh: bool = True
    ) -> None:
        """`fresh` is False for a run that goes on from its own state, which decides the weights."""
        self.models = models
        self.settings = settings
        self.accelerator = accelerator
        method = registry.component("methods", settings.training.method)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.training.seed)
            self.groups: dict[str, list[torch.nn.Parameter]] = method.attach(models, settings)
            if fresh and hasattr(method, "begin"):
                method.begin(models, settings, list(self.groups))
        self._leave_unread()
        settle(self._modules(), settings.training.weights_precision, precision)
        if settings.training.activation_checkpointing:
            models.unet.enable_gradient_checkpointing()
            for part in self.text_groups:
                getattr(models, part).activation_checkpointing_enable()
        set_attention(models, settings.hardware.attention, precision)
        if models.device.type == "cpu" and models.layout == torch.channels_last:
            guard_norms(models.unet)
        self._counts = self._count()
        self._precision = precision
        cache = paths.cache_root(settings.hardware.cache_folder)
        self.texts = None if self.text_groups else TextStates(models, precision, settings.model.clip_skip, cache)
        self._resting: TextStates | None = None
        self._uses: list[Uses] = []
        self._objective = Objective.from_settings(settings, models.source.configs["scheduler"], models.device)
        self._schedule, self._schedule_options = registry.chosen("schedules", settings)
        self._make_optimizer()

    def _modules(self) -> list[torch.nn.Module]:
        """The modules that a step runs through."""
        return [self.models.unet, *(self.models.text_encoders.values() if self.text_groups else ())]

    def _leave_unread(self) -> None:
        """Freeze text encoder weights that the UNet never reads: they get no gradient, and DDP would wait for one."""
        models = self.models
        for part in self.text_groups:
            config, skip = models.source.configs[part], self.settings.model.clip_skip
            beginnings = models.family.unread(part, config, skip)
            for name, parameter in getattr(models, part).named_parameters():
                if beginnings and name.removeprefix("text_model.").startswith(beginnings):
                    parameter.requires_grad_(False)
            self.groups[part] = [parameter for parameter in self.groups[part] if parameter.requires_grad]

    @property
    def text_groups(self) -> list[str]:
        """The text encoders that are trained."""
        return [part for part in self.groups if part in self.models.text_parts]

    def _make_optimizer(self) -> None:
        training = self.settings.training
        component, options = registry.chosen("optimizers", self.settings)
        groups = rate_groups(self.models, self.settings, self.groups)
        self._rate_groups = {group.name: group for group in groups}
        self.shares = self._split(groups) if shards(self.settings, self.accelerator) else None
        optimizer = component.build([group.options() for group in groups], options)
        if self.settings.hardware.compile:
            self.models.unet.compile_repeated_blocks(dynamic=True)
        denoiser = Denoiser(self.models, bool(self.text_groups), self.settings.model.clip_skip).train()
        self.zero = None
        if self.shares:
            self.denoiser, self.optimizer = denoiser, self.accelerator.prepare(optimizer)
        elif partitions(self.settings, self.accelerator):
            config = zero_config(self.settings, self._precision, self.accelerator.num_processes)
            self.zero = Zero(denoiser, optimizer, self.parameters, config)
            self.denoiser, self.optimizer = denoiser, optimizer
        else:
            self.denoiser, self.optimizer = self.accelerator.prepare(denoiser, optimizer)
        self._mover = Mover(optimizer, training.seed, self.settings.hardware.offload_states)
        self._fused = FusedBackward(optimizer, self._mover) if self._may_fuse() else None
        self._alone = getattr(component, "FUSED", True)
        self._bundles = bundles(optimizer)
        self.ema = Ema(self.parameters, training.ema_decay, training.ema_on_cpu) if training.ema else None

    def _split(self, groups: list[RateGroup]) -> Shares:
        """Split the modules over the processes; the trained parameters are this process's rows from now on."""
        if self.accelerator.scaler:
            raise UserError(f"training.precision: {SPLIT_FP16}")
        parts = {"unet": self.models.unet, **(self.models.text_encoders if self.text_groups else {})}
        shares = Shares(parts, self.groups, self.models.device.type)
        self.groups = shares.groups
        for group, parameters in zip(groups, shares.for_optimizer([g.parameters for g in groups]), strict=True):
            group.parameters = parameters
        return shares

    def _may_fuse(self) -> bool:
        """Whether the weights move inside the backward pass; UserError where they are to but cannot."""
        if not self.settings.training.fused_backward_pass:
            return False
        if self.accelerator.num_processes > 1:
            raise UserError(FUSED_ALONE)
        if self.accelerator.scaler:
            raise UserError(FUSED_FP16)
        return True

    def rate_factor(self, step: int, total: int) -> float:
        """Share of the full rates at a step (1 is the first): warm-up, then the schedule."""
        warmup = self.settings.training.warmup_steps
        if step <= warmup:
            return step / max(1, warmup)
        progress = (step - 1 - warmup) / max(1, total - warmup)
        return float(self._schedule.factor(progress, self._schedule_options))

    def step(
        self, number: int, batches: Sequence[Batch], factor: float, refuse: Refuse = lambda loss, norm: False
    ) -> StepResult:
        """Step `number` (1 is the first): one change of the weights from one or more micro-batches.

        Every picture counts the same, also in batches that are not full. `refuse` is asked with loss and gradient
        length before the weights move, where the settings skip bad steps.
        """
        images = sum(batch.count for batch in batches)
        rates = self._set_rates(factor, number)
        self._mover.begin(number)
        self._let_texts_rest(number)
        losses: list[torch.Tensor] = []
        self._uses = []
        try:
            for place, batch in enumerate(batches):
                with self._alone_until(place == len(batches) - 1):
                    loss = self.loss_sum(batch) * (self.accelerator.num_processes / images)
                    self._backward(loss, place == len(batches) - 1)
                losses.append(loss.detach())
            total = self._whole_loss(losses)
            norm, moved = self._move_weights(total, refuse)
        except TorchDynamoException as error:
            raise UserError(compile_advice(error)) from error
        if self.ema and moved:
            self.ema.update()
        return StepResult(total, norm, images, rates, moved, self._uses)

    def _backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradients of a micro-batch up."""
        if self.zero:
            self.zero.backward(loss, last)
        else:
            self.accelerator.backward(loss)

    def _alone_until(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """The context of a micro-batch: before the last one, gradients are added up without being exchanged.

        With FSDP each is exchanged, for gradients that are not would be whole in every process; DeepSpeed is told.
        """
        return contextlib.nullcontext() if last or self.is_split else self.accelerator.no_sync(self.denoiser)

    def _whole_loss(self, losses: list[torch.Tensor]) -> torch.Tensor:
        """The step's loss over all micro-batches and processes."""
        total = torch.stack(losses).sum()
        if self.accelerator.num_processes > 1:
            total = self.accelerator.reduce(total, reduction="mean")
        return total

    def _let_texts_rest(self, step: int) -> None:
        """From the step on where text encoders stop, their states are kept, as those of frozen ones.

        Not with several processes: DDP waits for every gradient, and split encoders must run in all of them at once.
        """
        stop = self.settings.training.text_encoder_stop_step
        rest = bool(stop) and step > stop and bool(self.text_groups) and "unet" in self.groups
        if not rest or self.accelerator.num_processes > 1:
            self._resting = None  # a run that went back to a saved state may have other encoders now
        elif self._resting is None:
            self._resting = TextStates(self.models, self._precision, self.settings.model.clip_skip)

    def _set_rates(self, factor: float, step: int) -> dict[str, float]:
        """Give every group its rate of a step: text encoders have none from the step on where they stop."""
        rates: dict[str, float] = {}
        stop = self.settings.training.text_encoder_stop_step
        for group in self.optimizer.param_groups:
            own = self._rate_groups[group["name"]]
            over = bool(stop) and step > stop and own.part != "unet"
            group["lr"] = 0.0 if over else own.rate * factor
            rates[own.name] = float(group["lr"])
        return rates

    def _move_weights(self, loss: torch.Tensor, refuse: Refuse) -> tuple[torch.Tensor, bool]:
        """After the backward pass: the optimizer's step. Gradient's length before clipping, whether weights moved."""
        if self._fused:
            return self._fused.finish(), True
        if self.zero:
            return self.zero.step(), True
        norm = self._clip()
        if self.settings.training.on_nan == "skip" and refuse(float(loss), float(norm)):
            self.optimizer.zero_grad(set_to_none=True)
            return norm, False
        self._let_rest()
        if not self._by_mover:
            self.optimizer.step()
        elif self._alone:
            for bundle in self._bundles:
                self._mover.move(bundle)
        else:
            self._mover.move_together(self.parameters)
        self.optimizer.zero_grad(set_to_none=True)
        return norm, True

    def _let_rest(self) -> None:
        """Drop the gradients of parts whose rate is 0 while others have one.

        Prodigy would go on by its old momentum, schedule-free towards its average; without a gradient both rest.
        """
        groups = self.optimizer.param_groups
        for group in groups:
            if not group["lr"] and any(other["lr"] for other in groups):
                for parameter in group["params"]:
                    parameter.grad = None

    @property
    def _by_mover(self) -> bool:
        """Whether the optimizer needs weights in 32 bits, or its states brought to them."""
        return self.settings.training.weights_precision == "bf16" or self.settings.hardware.offload_states

    def _clip(self) -> torch.Tensor:
        """Length of the gradient before it is shortened to the limit. A CPU looks first whether there is any need."""
        limit = self.settings.training.clip_norm or float("inf")
        parameters = [p for group in self.groups.values() for p in group]
        if self.shares:
            self.shares.take_gradients()
            whole = self.shares.norm()
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, whole)
            return whole
        if self.models.device.type != "cpu":
            norm: torch.Tensor = self.accelerator.clip_grad_norm_(parameters, limit)
            return norm.detach()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if float(norm) > limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm.detach()

    def loss_sum(self, batch: Batch) -> torch.Tensor:
        """Sum over a batch's pictures of their losses, weighted by timestep; padding counts 0.

        The losses by themselves leave the step in its result.
        """
        device = self.models.device
        latents, noise = batch.latents.to(device), batch.noise.to(device)
        added = noise if batch.added is None else batch.added.to(device)
        timesteps = batch.timesteps.to(device)
        noisy = self.models.arrange(self._objective.schedule.add_noise(latents, added, timesteps))
        condition = self._condition(batch.captions)
        with autocast(device, self._precision):
            predicted = self.denoiser(noisy, timesteps, *condition, batch.sizes.to(device))
        mask = None if batch.mask is None else batch.mask.to(device)
        per_picture = self._objective.losses(predicted.float(), latents, noise, timesteps, mask)
        self._uses.append(Uses(per_picture.detach(), batch.timesteps, batch.weights > 0))
        total: torch.Tensor = (per_picture * batch.weights.to(device)).sum()
        return total

    def _condition(self, captions: list[str]) -> tuple[Conditioning | None, torch.Tensor | None]:
        """(states, tokens): states of a frozen text encoder, or tokens for a trained one."""
        if self.texts is not None:
            return self.texts.get(captions), None
        if self._resting is not None:
            for encoder in self.models.text_encoders.values():
                encoder.eval()  # what no longer learns needs no dropout, and a kept state has none
            return self._resting.get(captions), None
        return None, self.models.family.tokenize(self.models, captions).to(self.models.device)

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """While inside, the model has the weights that the run shows: its EMA or its optimizer's average, if any."""
        return shown(self.parameters, self.ema, self.plain_optimizer)

    @property
    def averages(self) -> bool:
        """Whether shown() shows other weights than those that are trained."""
        return self.ema is not None or hasattr(self.plain_optimizer, "eval")

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All trained parameters."""
        return [parameter for group in self.groups.values() for parameter in group]

    def gathered(self) -> contextlib.AbstractContextManager[None]:
        """While inside, the modules of rank 0 hold whole weights, to be saved."""
        split = self.shares or self.zero
        return split.gathered() if split else contextlib.nullcontext()

    @property
    def is_split(self) -> bool:
        """Whether all processes must bring their share of weights or states when something is saved."""
        return bool(self.shares or self.zero)

    @property
    def plain_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer itself, without accelerate's wrapper."""
        plain: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return plain

    def counts(self) -> tuple[int, int]:
        """(trained weights, all weights of the trained parts)."""
        return self._counts

    def _count(self) -> tuple[int, int]:
        trained = sum(p.numel() for group in self.groups.values() for p in group)
        parts = [getattr(self.models, part) for part in self.groups]
        return trained, sum(p.numel() for part in parts for p in part.parameters())
