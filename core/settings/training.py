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
        help="Learning rate of the (first) text encoder; 0 leaves it as it is, which saves memory. New words and "
        "names need it, a new style seldom does. Usually a half to a tenth of the learning rate.",
        ge=0,
        le=10,
        usual=(0, 1e-3),
        group="Rates",
        editor="log",
        aliases=("text_encoder_lr", "learning_rate_te", "train_text_encoder"),
    )
    text_encoder_2_learning_rate: float = opt(
        0.0,
        label="Second text encoder's rate",
        help="SDXL only: learning rate of its larger text encoder; 0 leaves it as it is, which is usual.",
        ge=0,
        le=10,
        usual=(0, 1e-3),
        group="Rates",
        editor="log",
        level="advanced",
        aliases=("text_encoder_lr2", "learning_rate_te2"),
    )
    text_encoder_stop_step: int = opt(
        0,
        label="Text encoders stop at",
        help="From this step on the text encoders stay as they are, and only the UNet goes on: they over-train first. "
        "0 trains them to the end.",
        unit="steps",
        ge=0,
        group="Rates",
        level="advanced",
        aliases=("stop_text_encoder_training", "max_train_steps_te"),
    )
    block_rates: list[str] = opt(
        [],
        label="Rates by block",
        help="Multiplies the UNet's rate in chosen blocks, one a line: 'down 0 = 0.5' moves that block half as far at "
        "each step, and 'in = 0' leaves it as it is, which saves its memory. Blocks are time embedding, in, down 0 to "
        "3, mid, up 0 to 3 and out; SDXL has three of down and up. The first and last ones hold texture and colour, "
        "those around the middle shapes and composition.",
        group="Rates",
        level="advanced",
        aliases=("block_lr", "block_weights", "lbw"),
    )
    rate_scaling: Literal["none", "sqrt", "linear"] = opt(
        "none",
        label="Scale rates with the batch",
        help="Multiplies all learning rates by the effective batch (batch size × accumulation × GPUs) or by its square "
        "root, so that a rate found at batch 1 keeps its meaning. The square root suits AdamW and its kin, linear "
        "suits SGD.",
        group="Rates",
        level="advanced",
        aliases=("learning_rate_scaler", "scale_lr"),
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
        help="Number format of the arithmetic. bf16 is safe and fast on cards from RTX "
        "30 on, fp16 on older ones, fp32 is exact and slow. auto takes bf16 where the hardware is fast at it.",
        group="Numbers",
        level="advanced",
        aliases=("mixed_precision",),
    )
    weights_precision: Literal["fp32", "bf16"] = opt(
        "fp32",
        label="Precision of trained weights",
        help="How the weights that are trained are kept. bf16 halves their memory and that of their gradients; each "
        "step is then rounded up or down by chance (stochastic rounding), so that small steps add up all the same. "
        "It makes full fine-tuning of SDXL fit into 24 GB and learns a little more noisily.",
        group="Numbers",
        level="advanced",
        aliases=("full_bf16", "stochastic_rounding", "bf16_weights"),
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
    ema: bool = opt(
        False,
        label="Average the weights (EMA)",
        help="Keeps an average of the weights over the last steps. Checkpoints, samples and the stable loss have the "
        "average, which is steadier and often better; training goes on with the raw weights. Costs 4 bytes for each "
        "trained weight.",
        group="Average",
        level="advanced",
        aliases=("use_ema", "ema_weights"),
    )
    ema_decay: float = opt(
        0.999,
        label="Decay of the average",
        help="Share of the average that stays at each step: 0.999 looks back over about 1,000 steps, 0.9999 over "
        "10,000. At the beginning of a run it is lower, so that the first weights do not weigh for ever.",
        ge=0,
        lt=1,
        usual=(0.9, 0.99999),
        group="Average",
        level="advanced",
        when=("training.ema", True),
    )
    ema_on_cpu: bool = opt(
        False,
        label="Average in the computer's memory",
        help="Keeps the average in RAM instead of the GPU's memory; each step then waits until the weights are copied "
        "there.",
        group="Average",
        level="advanced",
        when=("training.ema", True),
        aliases=("ema_cpu", "offload_ema", "use_ema_cpu"),
    )
    on_nan: Literal["stop", "skip", "go back"] = opt(
        "stop",
        label="When the loss is no number",
        help="What happens when loss or gradient become infinite or no number (NaN), or spike: stop the run with a "
        "sentence, skip the step, or go back to the last saved state with half the learning rate.",
        group="Numbers",
        level="advanced",
        aliases=("nan_handling",),
    )
    spike_factor: float = opt(
        0.0,
        label="Spike",
        help="A gradient so many times as long as usual counts as broken, too, and is treated as chosen above. 0 looks "
        "for none; 20 catches a broken picture and little else.",
        ge=0,
        le=1e6,
        usual=(0, 1000),
        group="Numbers",
        level="advanced",
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
