"""What is trained: the whole model or a LoRA, LoHa or LoKr, with the network's module, size and arguments."""

from __future__ import annotations

from core.kohya.job import Job, Verdict

_PLAIN = "transformer blocks"
_CONVOLUTIONS = "transformer blocks + resnets"

#: Modules of sd-scripts that Burnish trains as a plain LoRA, with what is lost.
_MODULES = {
    "networks.dylora": "DyLoRA's ranks within the rank are not trained; this is a plain LoRA",
    "networks.lora_fa": "LoRA-FA freezes one half; this is a plain LoRA",
    "networks.oft": "OFT is not in this version; this is a plain LoRA",
}

#: LyCORIS' presets of layers, as Burnish's.
_LAYERS = {"attn-only": "attention", "attn-mlp": _PLAIN, "unet-transformer-only": _PLAIN, "full": _CONVOLUTIONS}

#: Flags that only a network has.
_OWN = (
    "network_module",
    "network_dim",
    "network_alpha",
    "network_dropout",
    "network_args",
    "network_weights",
    "dim_from_weights",
    "scale_weight_norms",
    "base_weights",
    "base_weights_multiplier",
    "unet_lr",
    "text_encoder_lr",
    "network_train_unet_only",
    "network_train_text_encoder_only",
)

#: Arguments of a network with the values that switch them off.
_OFF = (("network_args.factor", "-1"), ("network_args.unit", "1"), ("network_args.train_on_input", "True"))

#: What the methods are called.
_LABELS = {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr"}

#: A LoKr's rank at which every matrix is learnt whole.
_WHOLE_RANK = 10_000

_WORSE: tuple[Verdict, ...] = ("taken", "unneeded", "equivalent", "unknown")


def settle(job: Job) -> None:
    """Answer them."""
    if job.lora:
        _lora(job)
        return
    job.default("training.method", "full", f"{job.source.script or 'the flags'}: the whole model is trained")
    for name in (*_OWN, *(name for name in job.flags if name.startswith("network_args."))):
        job.answer(name, "unneeded", note="for a LoRA only; here the whole model is trained")


def _lora(job: Job) -> None:
    _module(job)
    job.default("training.method", "lora", f"{job.source.script or 'the flags'}: a LoRA is trained")
    _size(job)
    if _table(job) == "lora":
        job.take("network_dropout", "lora.dropout")
    job.answer("network_dropout", "unneeded", note="LyCORIS has no such thing for this algorithm; it has rank_dropout")
    _arguments(job)
    job.default(f"{_table(job)}.targets", _PLAIN, "the layers of networks.lora")
    if _table(job) == "lora":
        job.take("network_weights", "lora.start_from")
    job.answer(
        "network_weights", "unknown", note="a LoHa or LoKr begins anew in Burnish; only a LoRA goes on from a file"
    )
    note = "set lora.rank to that of the file; a lower one is refused before the start"
    job.answer("dim_from_weights", "unknown" if job.on("dim_from_weights") else "unneeded", note=note)
    if job.has("scale_weight_norms") and not job.number("scale_weight_norms"):
        job.answer("scale_weight_norms", "unneeded", note="off")
    job.lacking("scale_weight_norms", "the norms of a LoRA's weights are not limited in Burnish")
    job.lacking("base_weights", "merge that LoRA into the model first, and train on the merged model")
    job.answer("base_weights_multiplier", "unknown", note="see base_weights")


def _table(job: Job) -> str:
    """The method whose options the network's arguments are: "lora", "loha" or "lokr"."""
    return str(job.draft.values.get("training.method", "lora"))


def _size(job: Job) -> None:
    """Rank and alpha."""
    rank, alpha = f"{_table(job)}.rank", f"{_table(job)}.alpha"
    if not job.take("network_dim", rank):
        job.default(rank, 4, "sd-scripts' default of --network_dim")
    if job.number("network_alpha") == 0 and not job.source.gui:
        note = "0 stands for the rank there"
        job.take("network_alpha", alpha, job.draft.values.get(rank, 4), "equivalent", note)
    elif not job.take("network_alpha", alpha):
        job.default(alpha, 1.0, "sd-scripts' default of --network_alpha")


def _module(job: Job) -> None:
    module = job.text("network_module", "networks.lora")
    if module == "networks.lora":
        job.take("network_module", "training.method", "lora")
    elif module.startswith("lycoris"):
        _lycoris(job)
    elif module in _MODULES:
        job.draft.put("training.method", "lora")
        job.answer("network_module", "unknown", "training.method", _MODULES[module])
        job.notes.append(f"{module}: {_MODULES[module]}.")
    else:
        job.draft.put("training.method", "lora")
        job.answer("network_module", "unknown", "training.method", "not known; a plain LoRA is trained instead")
    job.answer("LoRA_type", *_type(job))


def _type(job: Job) -> tuple[Verdict, str, str]:
    """The GUI's type of LoRA."""
    kind = job.text("LoRA_type")
    if kind == "Standard":
        return "taken", "training.method", ""
    if kind in ("Kohya LoCon", "LyCORIS/LoCon", "LoCon"):
        return "equivalent", "training.method", "a LoRA that takes the convolutions too"
    if job.draft.values.get("training.method") not in ("lora", None):
        return "taken", "training.method", ""
    return "unknown", "training.method", "a plain LoRA is trained instead"


def _lycoris(job: Job) -> None:
    """LyCORIS: its LoRA and LoCon, LoHa and LoKr are ours; of other algorithms none is a method of this version."""
    algorithm = job.text("network_args.algo", "lora").lower()
    if algorithm in ("lora", "locon"):
        note = "LyCORIS' LoRA is the same as Burnish's"
        job.take("network_module", "training.method", "lora", "equivalent", note)
        job.draft.put("training.method", "lora")
        job.answer("network_args.algo", "equivalent", "training.method")
        return
    if algorithm in ("loha", "lokr") and not job.draft.put("training.method", algorithm):
        job.answer("network_module", "equivalent", "training.method", f"{algorithm} of LyCORIS")
        job.answer("network_args.algo", "taken", "training.method")
        return
    job.draft.put("training.method", "lora")
    note = f"LyCORIS' {algorithm} is not in this version; a plain LoRA is trained instead"
    job.answer("network_module", "unknown", "training.method", note)
    job.answer("network_args.algo", "unknown", note=note)
    job.notes.append(f"{note[0].upper()}{note[1:]}.")


def _arguments(job: Job) -> None:
    _layers(job)
    _own_arguments(job)
    for name, given in job.flags.items():
        if name.startswith("network_args."):
            off = str(given.value).lower() in ("", "0", "0.0", "false", "none") or (name, str(given.value)) in _OFF
            lacking = f"no such thing in Burnish's {_LABELS[_table(job)]}"
            job.answer(name, "unneeded" if off else "unknown", note="off" if off else lacking)
    pieces = [row.answer.verdict for row in job.rows() if row.flag.startswith(("--network_args ", "network_args "))]
    worst: Verdict = max(pieces, key=_WORSE.index) if pieces else "unneeded"
    job.answer("network_args", worst, note="each of its arguments is listed by itself")


def _own_arguments(job: Job) -> None:
    """What one algorithm only knows."""
    if _table(job) == "lora":
        job.take("network_args.dropout", "lora.dropout")
        for name, field in (
            ("dora_wd", "lora.dora"),
            ("weight_decompose", "lora.dora"),
            ("rs_lora", "lora.rank_stabilised"),
            ("rank_stabilized", "lora.rank_stabilised"),
        ):
            if job.on(f"network_args.{name}"):
                job.take(f"network_args.{name}", field, True)
        return
    job.answer("network_args.dropout", "unneeded", note="LyCORIS has no such thing for this algorithm")
    job.take("network_args.rank_dropout", f"{_table(job)}.dropout")
    if _table(job) == "lokr":
        job.take("network_args.factor", "lokr.factor")
        if job.on("network_args.decompose_both"):
            job.take("network_args.decompose_both", "lokr.decompose_both", True)
        if job.on("network_args.full_matrix"):
            note = "a rank so high that no matrix is a product; what is learnt whole is not scaled"
            job.take("network_args.full_matrix", "lokr.rank", _WHOLE_RANK, "equivalent", note)


def _layers(job: Job) -> None:
    """Which layers get a LoRA: conv_dim asks for the convolutions, LyCORIS' preset for a set of them."""
    name, table = "network_args.preset", _table(job)
    preset = job.text(name)
    if preset in _LAYERS:
        job.take(name, f"{table}.targets", _LAYERS[preset], "equivalent", f"its layers are '{_LAYERS[preset]}'")
    job.answer(name, "unknown", note="a set of layers that Burnish has not")
    size = job.number("network_args.conv_dim")
    if size and size > 0:
        rank = job.draft.values.get(f"{table}.rank")
        note = "the convolutions are taken too" + (f", with rank {rank} like the rest" if rank != size else "")
        if not job.take("network_args.conv_dim", f"{table}.targets", _CONVOLUTIONS, "equivalent", note):
            return
        alpha = job.number("network_args.conv_alpha", 1.0)
        same = alpha == job.draft.values.get(f"{table}.alpha")
        text = "" if same else f"the convolutions have {table}.alpha like the rest"
        job.answer("network_args.conv_alpha", "equivalent", f"{table}.alpha", text)
    elif job.has("network_args.conv_alpha"):
        job.answer("network_args.conv_alpha", "unneeded", note="without conv_dim it has no effect")
