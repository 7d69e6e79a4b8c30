"""Settings page "Hardware": GPUs, memory, and what the electricity costs."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class HardwareSettings(Section):
    """Which devices work, and how."""

    title: ClassVar[str] = "Hardware"

    device: Literal["auto", "cuda", "cpu"] = opt(
        "auto",
        label="Device",
        help="auto takes the NVIDIA GPU when there is one. The processor alone is fit for the starter model only.",
    )
    processes: int = opt(
        1,
        label="GPUs used",
        help="One process per GPU. The batch size counts per GPU, so the effective batch grows with it. On a machine "
        "without a GPU, processes on the CPU, which is useful for tests only.",
        ge=1,
        le=64,
        usual=(1, 8),
        aliases=("num_processes",),
    )
    parallel: Literal["ddp", "fsdp", "deepspeed"] = opt(
        "ddp",
        label="How they share the work",
        help="ddp is the fastest, but every GPU holds the whole model, all gradients and states. fsdp splits these and "
        "the EMA over the GPUs, as DeepSpeed's stage 3 does (not the activations), so that larger trainings fit. "
        "deepspeed splits the states, and the gradients by its stage, and needs DeepSpeed to be installed. Both want "
        "Linux.",
        level="advanced",
        aliases=("distributed_type", "fsdp", "deepspeed", "multi_gpu"),
    )
    zero_stage: int = opt(
        2,
        label="ZeRO stage",
        help="What DeepSpeed splits over the GPUs: 1 the optimizer's states, 2 the gradients too. For stage 3, which "
        "splits the weights as well, choose fsdp: it does the same.",
        ge=1,
        le=2,
        level="advanced",
        when=("hardware.parallel", ("deepspeed",)),
    )
    attention: Literal["sdpa", "xformers"] = opt(
        "sdpa",
        label="Attention",
        help="How attention is computed. SDPA is part of torch and fast on all cards; xformers can need less memory "
        "on older ones and must be installed.",
        level="advanced",
        aliases=("mem_eff_attn",),
    )
    offload_states: bool = opt(
        False,
        label="Optimizer states in RAM",
        help="Keeps the optimizer's states in the computer's memory and brings them to the GPU bit by bit at each "
        "step: saves 8 bytes for each trained weight with AdamW, at the price of speed.",
        level="advanced",
        aliases=("cpu_offload", "optimizer_offload"),
    )
    vae_tiling: bool = opt(
        False,
        label="VAE in tiles",
        help="Encodes and decodes large pictures in overlapping tiles: less memory while caching and sampling, and "
        "slightly other latents at the seams, which are cached apart.",
        level="advanced",
        aliases=("tiled_vae", "enable_vae_tiling"),
    )
    channels_last: Literal["auto", "on", "off"] = opt(
        "auto",
        label="Channels last",
        help="Memory layout of the convolutions. auto takes channels last on NVIDIA GPUs, whose tensor cores want it, "
        "and the plain layout on the processor.",
        level="advanced",
    )
    compile: bool = opt(
        False,
        label="Compile the UNet",
        help="torch.compile, one transformer block at a time: some 10 to 30 % faster after a start that takes a minute "
        "or more. It needs Triton on an NVIDIA GPU, or a C++ compiler on the processor.",
        level="advanced",
        aliases=("torch_compile", "dynamo_backend"),
    )
    cache_folder: str = opt(
        "",
        label="Cache folder",
        help="Where encoded pictures are kept. Entries are found by content, so several runs share it and it cannot "
        "go stale. Empty: Burnish's cache folder of this user.",
        level="advanced",
        editor="folder",
    )
    encode_batch: int = opt(
        8,
        label="Pictures encoded at once",
        help="Batch size of the VAE while caching. Lower it if caching runs out of memory. On the processor pictures "
        "are encoded one by one, so that each gives the same bits whatever is beside it.",
        unit="pictures",
        ge=1,
        le=512,
        level="advanced",
        aliases=("vae_batch_size",),
    )
    decode_threads: int = opt(
        4,
        label="Threads that decode pictures",
        help="So many pictures are read, decoded and cut at once ahead of the GPU. Raise it when caching, or training "
        "with random crops, leaves the GPU waiting; they share one memory.",
        unit="threads",
        ge=1,
        le=128,
        usual=(2, 32),
        level="advanced",
        aliases=("max_data_loader_n_workers", "num_workers", "dataloader_threads"),
    )
    price_per_kwh: float = opt(
        0.30,
        label="Price of electricity",
        help="Price of one kWh, so that a run's cost can be shown.",
        unit="per kWh",
        ge=0,
        le=100,
        usual=(0.05, 1),
    )
    currency: str = opt(
        "EUR",
        label="Currency",
        help="Three letters shown beside the cost.",
    )
    co2_per_kwh: float = opt(
        0.0,
        label="CO2 of electricity",
        help="Grams of CO2 for one kWh, so that a run's CO2 can be shown. The supplier or the grid operator tells it: "
        "some 50 where water and atoms make the current, 400 on many grids, 900 where coal does. 0 shows none.",
        unit="g per kWh",
        ge=0,
        le=2000,
        usual=(0, 1000),
        level="advanced",
    )
    rest_watts: float = opt(
        0.0,
        label="Rest of the machine",
        help="Power drawn by everything but the GPUs that train, those that idle included. It is added to what the "
        "run's own GPUs report; measure it once at the wall socket. Trainings that go side by side share it: each "
        "counts its part. 0 counts the GPUs only.",
        unit="W",
        ge=0,
        le=5000,
        usual=(0, 400),
        level="advanced",
    )
    telemetry_seconds: float = opt(
        2.0,
        label="Read the sensors every",
        help="VRAM, power, temperature and utilisation are read so often. A run of many hours stores them less often, "
        "at least every 30 s, but counts the energy of all readings.",
        unit="s",
        ge=0.1,
        le=600,
        usual=(0.5, 30),
        level="advanced",
    )
