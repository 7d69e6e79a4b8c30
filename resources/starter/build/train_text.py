"""Teaches the text encoder, before the denoiser's training, to say at every later word what picture is meant.

The denoiser learns to listen to words much sooner when the words already describe pictures, which is what CLIP's own
training gives the large model. Here each caption's hidden states, from its end on, predict the principal components
of its subject's mean latents.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from parts import SEED, TEXT_WIDTH, make_text_encoder
from sources import Subject, read_subjects
from training import cosine_rate, load_checkpoint, save_checkpoint, set_rate, settle
from transformers import CLIPTextModel, CLIPTokenizer
from world import base_caption

STEPS = 900
BATCH = 48
COMPONENTS = 64
PEAK_RATE = 2e-3


def picture_codes(work: Path, count: int) -> torch.Tensor:
    """Return each subject's mean latents as principal components, milder in their differences of scale."""
    square = torch.load(work / "latents.pt", weights_only=True)["square"]
    latents, numbers = square["latents"].flatten(1), torch.tensor([row[0] for row in square["subjects"]])
    means = torch.stack([latents[numbers == number].mean(dim=0) for number in range(count)])
    left, scales, _ = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False)
    codes = left[:, :COMPONENTS] * scales[:COMPONENTS].sqrt()
    return codes / codes.std()


def code_loss(states: torch.Tensor, tokens: torch.Tensor, codes: torch.Tensor, head: torch.nn.Linear) -> torch.Tensor:
    """Return the squared error of the codes read from the states at the end of the text and at the padding."""
    ends = (tokens == tokens[0, -1]).float()
    errors = (head(states) - codes[:, None]).square().mean(dim=2)
    return (errors * ends).sum() / ends.sum()


def train_text(sources: Path, work: Path, steps: int = STEPS) -> Path:
    """Train the text encoder on codes of pictures; return its checkpoint."""
    path = work / "text.pt"
    if load_checkpoint(path):
        return path
    settle(SEED)
    subjects: list[Subject] = read_subjects(sources)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    text: CLIPTextModel = make_text_encoder()
    text.set_attn_implementation("eager")
    head, codes = torch.nn.Linear(TEXT_WIDTH, COMPONENTS), picture_codes(work, len(subjects))
    optimizer = torch.optim.AdamW([*text.parameters(), *head.parameters()], PEAK_RATE, weight_decay=0.0, fused=True)
    for step in range(steps):
        set_rate(optimizer, cosine_rate(step, step / steps, PEAK_RATE, 50))
        rng = random.Random(f"{SEED}-text-{step}")
        numbers = [rng.randrange(len(subjects)) for _ in range(BATCH)]
        captions = [base_caption([subjects[number]], "", rng) for number in numbers]
        targets = codes[numbers] * torch.tensor([[float(bool(caption))] for caption in captions])
        batch = tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            states = text(batch.input_ids)[0]
        loss = code_loss(states.float(), batch.input_ids, targets, head)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"text {step} loss {float(loss.detach()):.4f}", flush=True)
    save_checkpoint(path, {"text_encoder": text.state_dict()})
    return path


if __name__ == "__main__":
    import sys

    train_text(Path(sys.argv[1]) / "sources", Path(sys.argv[1]))
