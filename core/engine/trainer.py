"""One step of training: forward, loss, backward, clip, optimizer. Knows tensors only; no files, no events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from core import registry
from core.checks import FUSED_ALONE, FUSED_FP16
from core.engine.attention import set_attention
from core.engine.fused_backward import FusedBackward
from core.engine.loader import Batch
from core.engine.models import Models, arrange
from core.engine.noise import NoiseSchedule
from core.engine.text_states import Conditioning, TextStates
from core.errors import UserError
from core.settings import Settings


class Denoiser(torch.nn.Module):
    """UNet, and the text encoder when it is trained, as one module, so that DDP sees one forward and one backward."""

    def __init__(self, models: Models, with_text: bool) -> None:
        super().__init__()
        self.unet = models.unet
        self.text_encoder = models.text_encoder if with_text else None
        self._encode = models.family.encode_tokens

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, states: Conditioning | None, tokens: torch.Tensor | None
    ) -> torch.Tensor:
        """The predicted noise (b, 4, h, w) for noisy latents of that shape; conditioning by states or by tokens."""
        conditioning = states if tokens is None else self._encode(self.text_encoder, tokens)
        predicted: torch.Tensor = self.unet(noisy, timesteps, **(conditioning or {}), return_dict=False)[0]
        return predicted


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave; tensors, so that a GPU need not be waited for.

    Attributes:
        loss: Mean training loss over the effective batch, as if unweighted by padding; scalar.
        grad_norm: Length of the gradient before clipping; scalar.
        images: Pictures of the step over all processes.
    """

    loss: torch.Tensor
    grad_norm: torch.Tensor
    images: int
    rates: dict[str, float]


class Trainer:
    """Holds the trained modules and the optimizer, and takes steps.

    Attributes:
        groups: Trained parameters by part ("unet", "text_encoder").
        texts: Conditioning by the frozen text encoder; None when it is trained.
    """

    def __init__(self, models: Models, settings: Settings, accelerator: Accelerator, precision: str) -> None:
        self.models = models
        self.settings = settings
        self.accelerator = accelerator
        method = registry.component("methods", settings.training.method)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.training.seed)
            self.groups: dict[str, list[torch.nn.Parameter]] = method.attach(models, settings)
        if settings.training.activation_checkpointing:
            models.unet.enable_gradient_checkpointing()
            if "text_encoder" in self.groups:
                models.text_encoder.gradient_checkpointing_enable()
        set_attention(models, settings.hardware.attention, precision)
        self._base_rates = {
            "unet": settings.training.learning_rate,
            "text_encoder": settings.training.text_encoder_learning_rate,
        }
        self.texts = None if self.trains_text else TextStates(models, precision)
        self._schedule = NoiseSchedule.from_config(models.source.configs["scheduler"], models.device)
        self._weighting = registry.component("weightings", settings.loss.weighting)
        self._weighting_options = getattr(settings, settings.loss.weighting, None)
        self._lr_factor: Callable[[float], float] = registry.component("schedules", settings.training.schedule).factor
        self._make_optimizer()

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is trained."""
        return "text_encoder" in self.groups

    def _make_optimizer(self) -> None:
        name = self.settings.training.optimizer
        groups = [{"params": p, "lr": self._base_rates[n], "name": n} for n, p in self.groups.items()]
        optimizer = registry.component("optimizers", name).build(groups, getattr(self.settings, name, None))
        denoiser = Denoiser(self.models, self.trains_text).train()
        self.denoiser, self.optimizer = self.accelerator.prepare(denoiser, optimizer)
        self._fused = FusedBackward(optimizer) if self._may_fuse() else None

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
        return self._lr_factor((step - 1 - warmup) / max(1, total - warmup))

    def step(self, batches: Sequence[Batch], factor: float) -> StepResult:
        """One change of the weights from one or more micro-batches (gradient accumulation).

        Every picture counts the same, also in batches that are not full. Raises UserError on running out of memory.
        """
        images = sum(batch.count for batch in batches)
        rates = self._set_rates(factor)
        losses = []
        try:
            for number, batch in enumerate(batches):
                inner = number < len(batches) - 1
                context = self.accelerator.no_sync(self.denoiser) if inner else contextlib.nullcontext()
                with context:
                    loss = self.loss_sum(batch) * (self.accelerator.num_processes / images)
                    self.accelerator.backward(loss)
                losses.append(loss.detach())
            norm = self._move_weights()
        except torch.OutOfMemoryError as error:
            raise UserError(_memory_advice(self.settings)) from error
        total = torch.stack(losses).sum()
        if self.accelerator.num_processes > 1:
            total = self.accelerator.reduce(total, reduction="mean")
        return StepResult(total, norm, images, rates)

    def _set_rates(self, factor: float) -> dict[str, float]:
        rates = {}
        for group in self.optimizer.param_groups:
            group["lr"] = self._base_rates[group["name"]] * factor
            rates[str(group["name"])] = float(group["lr"])
        return rates

    def _move_weights(self) -> torch.Tensor:
        """After the backward pass: the optimizer's step; the gradient's length before clipping."""
        if self._fused:
            return self._fused.finish()
        norm = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _clip(self) -> torch.Tensor:
        """Length of the gradient before it is shortened to the limit. A CPU looks first whether there is any need."""
        limit = self.settings.training.clip_norm or float("inf")
        parameters = [p for group in self.groups.values() for p in group]
        if self.models.device.type != "cpu":
            norm: torch.Tensor = self.accelerator.clip_grad_norm_(parameters, limit)
            return norm.detach()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if float(norm) > limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm.detach()

    def loss_sum(self, batch: Batch) -> torch.Tensor:
        """Sum over a batch's pictures of their mean squared errors, weighted by timestep; padding counts 0."""
        device = self.models.device
        latents, noise = batch.latents.to(device), batch.noise.to(device)
        timesteps = batch.timesteps.to(device)
        noisy = arrange(self._schedule.add_noise(latents, noise, timesteps))
        predicted = self.denoiser(noisy, timesteps, *self._condition(batch.captions))
        per_picture = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        weights = self._weighting.weights(self._schedule.snr(timesteps), self._weighting_options)
        if weights is not None:
            per_picture = per_picture * weights
        total: torch.Tensor = (per_picture * batch.weights.to(device)).sum()
        return total

    def _condition(self, captions: list[str]) -> tuple[Conditioning | None, torch.Tensor | None]:
        """(states, tokens): states of a frozen text encoder, or tokens for a trained one."""
        if self.texts is not None:
            return self.texts.get(captions), None
        return None, self.models.family.tokenize(self.models, captions).to(self.models.device)

    def trained_weights(self) -> dict[str, torch.Tensor]:
        """Trained weights by "part.number" in full precision; the parameters themselves, not copies."""
        return {f"{part}.{i:05d}": p.data for part, group in self.groups.items() for i, p in enumerate(group)}

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put saved weights back; UserError when they are of other settings."""
        own = self.trained_weights()
        if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
            raise UserError(
                "The saved state belongs to other settings (method, rank or model); start a new run instead."
            )
        for name, tensor in own.items():
            tensor.copy_(weights[name])

    def optimizer_state(self) -> dict[str, Any]:
        """State of the optimizer, and of the fp16 loss scaler when there is one."""
        scaler = self.accelerator.scaler
        return {"optimizer": self.optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else {}}

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Put a saved optimizer state back.

        The state's tensors get their weight's memory layout again: fused optimizers walk both side by side in memory.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            for name, tensor in kept.items():
                if isinstance(tensor, torch.Tensor) and tensor.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        if self.accelerator.scaler and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def counts(self) -> tuple[int, int]:
        """(trained weights, all weights of the trained parts)."""
        trained = sum(p.numel() for group in self.groups.values() for p in group)
        parts = [getattr(self.models, part) for part in self.groups]
        return trained, sum(p.numel() for part in parts for p in part.parameters())


def _memory_advice(settings: Settings) -> str:
    """The sentence for a GPU that ran out of memory, with the cheapest remedies that are not in use yet."""
    remedies = []
    if not settings.training.activation_checkpointing:
        remedies.append("switch on training.activation_checkpointing")
    if settings.training.batch_size > 1:
        remedies.append("lower training.batch_size and raise training.accumulation")
    if settings.training.optimizer != "adamw8bit":
        remedies.append("choose the optimizer adamw8bit")
    if settings.training.method == "full":
        remedies.append("choose the method lora")
    remedies.append("lower data.resolution")
    return f"The GPU ran out of memory. {', or '.join(remedies[:3]).capitalize()}; then resume the run."
