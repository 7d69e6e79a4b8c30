"""Settings page "Training": method, length, rates, optimizer, precision."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class TrainingSettings(Section):
    """What is trained, how long and how fast."""

    title: ClassVar[str] = "Training"

    method: str = opt(
        "lora",
        label="Method",
        help="Full fine-tuning changes the whole UNet and learns most, at the price of memory and of a large file. "
        "LoRA learns a small addition that fits into 8 to 12 GB and can be mixed later.",
        group="Method",
        choices="methods",
        aliases=("network_module", "training_method"),
    )
    batch_size: int = opt(
        1,
        label="Batch size",
        help="Pictures per step and GPU. Larger batches use the GPU better and need more memory; the quality hardly "
        "changes when the rate follows (times the square root).",
        unit="pictures",
        ge=1,
        le=4096,
        usual=(1, 64),
        group="Length",
        aliases=("train_batch_size",),
    )
    accumulation: int = opt(
        1,
        label="Gradient accumulation",
        help="So many batches are added up before the weights move: the effect of a larger batch without its memory.",
        unit="batches",
        ge=1,
        le=4096,
        usual=(1, 64),
        group="Length",
        level="advanced",
        aliases=("gradient_accumulation_steps",),
    )
    max_steps: int = opt(
        0,
        label="Steps",
        help="The run ends after so many changes of the weights. 0: only the number of epochs counts.",
        unit="steps",
        ge=0,
        usual=(0, 2_000_000),
        group="Length",
        editor="log",
        aliases=("max_train_steps",),
    )
    max_epochs: int = opt(
        0,
        label="Epochs",
        help="The run ends after every picture was seen so many times. 0: only the number of steps counts. "
        "With both set, whichever comes first.",
        unit="epochs",
        ge=0,
        usual=(0, 1000),
        group="Length",
        aliases=("max_train_epochs", "num_train_epochs"),
    )
    learning_rate: float = opt(
        1e-4,
        label="Learning rate",
        help="How far each step moves the weights. Full fine-tuning of SD 1.5 wants about 1e-6 to 5e-6, LoRA 1e-4 to "
        "5e-4. Higher reaches the same validation loss in fewer steps, until it diverges.",
        ge=0,
        le=10,
        usual=(1e-7, 2e-3),
        group="Rates",
        editor="log",
        aliases=("lr", "unet_lr"),
    )
    text_encoder_learning_rate: float = opt(
        0.0,
        label="Text encoder rate",
        help="Learning rate of the text encoder; 0 leaves it as it is, which saves memory. New words and names need "
        "it, a new style seldom does. Usually a half to a tenth of the learning rate.",
        ge=0,
        le=10,
        usual=(0, 1e-3),
        group="Rates",
        editor="log",
        aliases=("text_encoder_lr", "learning_rate_te", "train_text_encoder"),
    )
    optimizer: str = opt(
        "adamw",
        label="Optimizer",
        help="The rule that turns gradients into steps. AdamW is the safe choice; its 8-bit form is as good and needs "
        "a quarter of the state memory.",
        group="Rates",
        choices="optimizers",
        aliases=("optimizer_type", "use_8bit_adam"),
    )
    schedule: str = opt(
        "constant",
        label="Schedule",
        help="How the learning rate changes over the run. Constant lets you stop anywhere and compare checkpoints; "
        "cosine and linear end softly, but only at the planned end.",
        group="Rates",
        choices="schedules",
        aliases=("lr_scheduler",),
    )
    warmup_steps: int = opt(
        0,
        label="Warm-up",
        help="The rate rises from 0 in so many steps, which spares the weights the first wild steps of the optimizer.",
        unit="steps",
        ge=0,
        group="Rates",
        aliases=("lr_warmup_steps",),
    )
    clip_norm: float = opt(
        1.0,
        label="Gradient clipping",
        help="Gradients whose length (norm) is above this are shortened to it, so that one odd picture cannot tear "
        "the weights. 0 switches it off.",
        ge=0,
        usual=(0, 10),
        group="Rates",
        level="advanced",
        aliases=("max_grad_norm",),
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = opt(
        "auto",
        label="Precision",
        help="Number format of the arithmetic; the weights stay in 32 bits. bf16 is safe and fast on cards from RTX "
        "30 on, fp16 on older ones, fp32 is exact and slow. auto takes bf16 where the hardware is fast at it.",
        group="Numbers",
        level="advanced",
        aliases=("mixed_precision",),
    )
    activation_checkpointing: bool = opt(
        False,
        label="Activation checkpointing",
        help="Recomputes the inner results of the forward pass instead of keeping them: much less memory, about a "
        "quarter slower. The trained weights are the same.",
        group="Numbers",
        level="advanced",
        aliases=("gradient_checkpointing",),
    )
    fused_backward_pass: bool = opt(
        False,
        label="Fused backward pass",
        help="Each weight moves as soon as its gradient is known, and the gradient is freed: saves the memory of all "
        "gradients (4 bytes for each trained weight) and some time. The weights are the same. It excludes gradient "
        "accumulation, clipping, fp16 and several GPUs.",
        group="Numbers",
        level="advanced",
        aliases=("fused_back_pass", "optimizer_in_backward"),
    )
    seed: int = opt(
        0,
        label="Seed",
        help="Decides the order of the pictures, the noise and the timesteps. The same seed and settings give the "
        "same run again.",
        ge=0,
        le=2**53,
        group="Numbers",
        level="advanced",
    )
