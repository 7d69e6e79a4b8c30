"""Settings page "Output": what is saved, where and how often."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class OutputSettings(Section):
    """Run folder and checkpoints."""

    title: ClassVar[str] = "Output"

    name: str = opt(
        "",
        label="Name of the run",
        help="Shown in the lists and used in the names of the checkpoints. Empty: made from the model and the data.",
        aliases=("output_name",),
    )
    folder: str = opt(
        "",
        label="Folder for runs",
        help="Each run gets a folder of its own in here. Empty: the Burnish folder among your documents.",
        editor="folder",
        aliases=("output_dir",),
    )
    save_every_steps: int = opt(
        500,
        label="Checkpoint every",
        help="Saves a model that can be used, and the state from which the run can go on, every so many steps and at "
        "the end. 0: only at the end.",
        unit="steps",
        ge=0,
        editor="log",
        aliases=("save_every_n_steps",),
    )
    save_every_epochs: int = opt(
        0,
        label="Checkpoint every",
        help="The same, counted in epochs. 0 switches it off.",
        unit="epochs",
        ge=0,
        aliases=("save_every_n_epochs",),
    )
    precision: Literal["fp16", "bf16", "fp32"] = opt(
        "fp16",
        label="Precision of checkpoints",
        help="Number format in the saved model. fp16 is what other programs expect and half the size of fp32.",
        level="advanced",
        aliases=("save_precision",),
    )
    layout: Literal["single file", "diffusers folder"] = opt(
        "single file",
        label="Layout of whole models",
        help="One .safetensors file in the original layout is what A1111, Forge and ComfyUI load; a diffusers folder "
        "is for scripts. LoRAs are always one file.",
        level="advanced",
        aliases=("save_model_as", "output_format"),
    )
    keep_last: int = opt(
        0,
        label="Checkpoints kept",
        help="Only so many of the newest checkpoints stay; 0 keeps all. The best and the multiples below stay besides.",
        ge=0,
        le=10_000,
        level="advanced",
        aliases=("save_last_n_steps", "save_last_n_epochs", "checkpoints_total_limit"),
    )
    keep_best: int = opt(
        1,
        label="Best checkpoints kept",
        help="With a limit above, so many checkpoints with the lowest validation loss stay, however old they are.",
        ge=0,
        le=1000,
        level="advanced",
    )
    keep_every: int = opt(
        0,
        label="Keep each multiple of",
        help="With a limit above, checkpoints at multiples of so many steps stay. 0: none for that reason.",
        unit="steps",
        ge=0,
        level="advanced",
    )
    keep_states: int = opt(
        1,
        label="Training states kept",
        help="A state holds all that is needed to go on exactly where the run was: about three times the trained "
        "weights in 32 bits. Older ones are removed.",
        ge=1,
        le=100,
        level="advanced",
        aliases=("save_last_n_steps_state",),
    )
    tensorboard: bool = opt(
        False,
        label="Write for TensorBoard",
        help="Writes the curves for TensorBoard too, into the run's tensorboard folder, while the run goes on. For "
        "those who compare with runs of other trainers there; 'runs export' writes them later just as well.",
        level="advanced",
        aliases=("log_with", "report_to"),
    )
