"""Trains the starter model's denoiser on the cached latents, listening to the finished text encoder."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from threading import Barrier
from typing import Any

import torch
import torch.multiprocessing as processes
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from parts import SEED, make_sampler, make_text_encoder, make_unet, parameter_count, signal_to_noise
from sources import Subject, read_subjects
from training import Average, cosine_rate, load_checkpoint, save_checkpoint, set_rate, settle
from transformers import CLIPTextModel, CLIPTokenizer
from world import base_caption

STEPS = 8000
WORKERS = 2
BATCH = 8  # for each worker
PEAK_RATE = 1e-3
WARMUP = 150
GAMMA = 5.0
STRESS = 20.0
AVERAGE_DECAY = 0.98
AVERAGE_EVERY = 4
SAVE_EVERY = 200
SHARES = {"square": 0.92, "wide": 0.04, "tall": 0.04}


class Batches:
    """Draws seeded batches of latents and captions."""

    def __init__(self, work: Path, subjects: list[Subject]) -> None:
        self.content: dict[str, Any] = torch.load(work / "latents.pt", weights_only=True)
        self.subjects = subjects
        self.tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
        self.scaling_factor = float(self.content["scaling_factor"])

    def draw(self, step: int, worker: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a worker's latents of one shape and token numbers for a step."""
        shape = random.Random(SEED * 1_000_003 + step).choices(list(SHARES), list(SHARES.values()))[0]
        rng = random.Random(f"{SEED}-{step}-{worker}")
        group = self.content[shape]
        rows = rng.sample(range(len(group["subjects"])), BATCH)
        captions = [
            base_caption([self.subjects[n] for n in group["subjects"][row]], group["tints"][row], rng) for row in rows
        ]
        return group["latents"][rows] * self.scaling_factor, self.tokens(captions)

    def tokens(self, captions: list[str]) -> torch.Tensor:
        """Tokenize captions as the family does: padded to 77."""
        result = self.tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return result.input_ids


def moment_weights() -> torch.Tensor:
    """Weigh the timesteps: more where noise hides the picture and only the words tell it, less where little is hidden.

    Plain noise prediction hardly rewards listening to the words, and a small world's training is too short for that.
    """
    snr = signal_to_noise()
    return (1 + 1 / snr).clamp(max=STRESS) * (GAMMA / snr).clamp(max=1)


class Exchange:
    """Averages gradients over workers through shared memory; each worker computes in one thread."""

    def __init__(self, workers: int, size: int, barrier: Barrier) -> None:
        self.rows = torch.zeros(workers, size).share_memory_()
        self.progress = torch.zeros(1).share_memory_()
        self.barrier = barrier

    def average(self, parameters: list[torch.nn.Parameter], worker: int) -> float:
        """Replace each gradient by its mean over the workers; return the progress the first worker set."""
        start = 0
        places = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            places.append((parameter.grad, start, start + parameter.numel()))
            start += parameter.numel()
        for gradient, first, last in places:
            self.rows[worker, first:last].copy_(gradient.reshape(-1))
        self.barrier.wait()
        mean = self.rows.mean(dim=0)
        progress = float(self.progress)
        self.barrier.wait()
        for gradient, first, last in places:
            gradient.copy_(mean[first:last].view_as(gradient))
        return progress


class Trainer:
    """Holds one worker's copy of the parts in training and takes steps."""

    def __init__(self, sources: Path, work: Path, worker: int, exchange: Exchange) -> None:
        settle(SEED, threads=1)
        self.path, self.worker, self.exchange = work / "unet.pt", worker, exchange
        self.batches = Batches(work, read_subjects(sources))
        self.unet: UNet2DConditionModel = make_unet()
        self.unet.set_attn_processor(AttnProcessor())  # faster backwards on processors than the fused kernel
        self.text: CLIPTextModel = make_text_encoder()
        self.text.load_state_dict(torch.load(work / "text.pt", weights_only=True)["text_encoder"])
        self.text.set_attn_implementation("eager")
        self.text.requires_grad_(False)  # train_text.py has taught it
        self.parameters = list(self.unet.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, PEAK_RATE, (0.9, 0.99), weight_decay=0.0, fused=True)
        self.average = Average({"unet": self.unet}, AVERAGE_DECAY)
        self.sampler = make_sampler()
        self.weights = moment_weights()
        self.start = 0
        if saved := load_checkpoint(self.path):
            self.unet.load_state_dict(saved["unet"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.average.shadow = saved["average"]
            self.start = saved["step"]

    def loss(self, step: int) -> torch.Tensor:
        """Return the weighted squared error of the predicted noise for a step's batch."""
        latents, tokens = self.batches.draw(step, self.worker)
        torch.manual_seed(SEED * 1_000_003 + step * WORKERS + self.worker)
        noise = torch.randn_like(latents)
        moments = torch.randint(0, 1000, (BATCH,))
        noisy = self.sampler.add_noise(latents, noise, moments)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                words = self.text(tokens)[0]
            predicted = self.unet(noisy, moments, words, return_dict=False)[0]
        errors = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        return (errors * self.weights[moments]).mean()

    def take_step(self, step: int) -> tuple[float, float]:
        """Learn from a step's batches of all workers; return this worker's loss and the common progress."""
        loss = self.loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        progress = self.exchange.average(self.parameters, self.worker)
        set_rate(self.optimizer, cosine_rate(step, progress, PEAK_RATE, WARMUP))
        torch.nn.utils.clip_grad_norm_(self.parameters, 2.0)
        self.optimizer.step()
        if self.worker == 0 and step % AVERAGE_EVERY == 0:
            self.average.update(step // AVERAGE_EVERY)
        return float(loss.detach()), progress

    def save(self, step: int) -> None:
        """Write the checkpoint from which training goes on."""
        save_checkpoint(self.path, {
            "unet": self.unet.state_dict(), "average": self.average.shadow,
            "optimizer": self.optimizer.state_dict(), "step": step,
        })  # fmt: skip


def work_through(worker: int, sources: Path, work: Path, plan: tuple[int, float], exchange: Exchange) -> None:
    """Run one worker to the end of the plan (steps, minutes); the first one sets the pace, reports and saves."""
    steps, minutes = plan
    trainer = Trainer(sources, work, worker, exchange)
    exchange.barrier.wait()
    began, losses, step, progress = time.time(), [], trainer.start, 0.0
    opening = trainer.start / steps
    while progress < 1:
        if worker == 0:
            spent = opening + (1 - opening) * (time.time() - began) / 60 / minutes
            exchange.progress[0] = max((step + 1) / steps, spent)
        loss, progress = trainer.take_step(step)
        step += 1
        losses.append(loss)
        if worker == 0 and step % 50 == 0:
            pace = WORKERS * BATCH * (step - trainer.start) / (time.time() - began)
            print(
                f"unet {step} {progress:.2f} loss {sum(losses) / len(losses):.4f} pictures/s {pace:.0f}",
                flush=True,
            )
            losses = []
        if worker == 0 and (step % SAVE_EVERY == 0 or progress >= 1):
            trainer.save(step)


def train_unet(sources: Path, work: Path, steps: int = STEPS, minutes: float = math.inf) -> Path:
    """Train, or go on training, for some steps in all or for some minutes more; return the checkpoint."""
    saved = load_checkpoint(work / "unet.pt")
    if saved and saved["step"] >= steps:
        return work / "unet.pt"
    size = parameter_count(make_unet())
    barrier = processes.get_context("spawn").Barrier(WORKERS)
    exchange = Exchange(WORKERS, size, barrier)
    processes.spawn(work_through, (sources, work, (steps, minutes), exchange), nprocs=WORKERS)
    return work / "unet.pt"


def trained_unet(work: Path) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Load the averaged weights of the denoiser and the text encoder."""
    saved = torch.load(work / "unet.pt", weights_only=True, map_location="cpu")
    unet, text = make_unet(), make_text_encoder()
    unet.load_state_dict(saved["average"]["unet"])
    text.load_state_dict(torch.load(work / "text.pt", weights_only=True)["text_encoder"])
    return unet.eval(), text.eval()


if __name__ == "__main__":
    import sys

    folder = Path(sys.argv[1])
    train_unet(folder / "sources", folder, int(sys.argv[2]), float(sys.argv[3]))
