"""Flags that need no option: what Burnish does by itself, what has no meaning here, and what it simply lacks."""

from __future__ import annotations

from core.kohya.job import Job

_CACHED = "encoded pictures are always cached on the disk"
_TEXT_CACHED = "text states are kept while the text encoder is not trained"
_LOGS = "every run keeps its events, which the Monitor shows"
_UPLOAD = "Burnish uploads nothing"
_OTHER_MODELS = "for other models (SD 3, Flux, ...)"
_PREPARED = "the GUI's own preparation of the pictures; Burnish does it by itself"
_EMBEDDING = "for textual inversion only"

#: By name: why it is not needed.
UNNEEDED = {
    **dict.fromkeys(("cache_latents", "cache_latents_to_disk", "cache_info"), _CACHED),
    **dict.fromkeys(("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk"), _TEXT_CACHED),
    "skip_cache_check": "the cache is found by content and cannot go stale",
    "skip_latents_validity_check": "the cache is found by content and cannot go stale",
    "text_encoder_batch_size": "captions are encoded as memory allows",
    "no_half_vae": "the VAE computes in fp32, or in bf16, never in fp16",
    **dict.fromkeys(("max_data_loader_n_workers", "persistent_data_loader_workers"), "pictures come from the cache"),
    **dict.fromkeys(("lowram", "highvram", "mem_eff_save", "disable_mmap_load_safetensors"), "memory is seen to"),
    **dict.fromkeys(
        ("logging_dir", "log_with", "log_prefix", "log_tracker_name", "log_tracker_config", "log_config"), _LOGS
    ),
    **dict.fromkeys(("wandb_run_name", "wandb_api_key", "use_wandb"), _LOGS),
    **dict.fromkeys(("console_log_level", "console_log_file", "console_log_simple"), "see the run's console.log"),
    **dict.fromkeys(
        (
            "huggingface_repo_id",
            "huggingface_repo_type",
            "huggingface_path_in_repo",
            "huggingface_token",
            "huggingface_repo_visibility",
            "save_state_to_huggingface",
            "resume_from_huggingface",
            "async_upload",
        ),
        _UPLOAD,
    ),
    "tokenizer_cache_dir": "the tokenizers come with Burnish",
    "use_safetensors": "checkpoints are always .safetensors files",
    "no_metadata": "checkpoints say how they were made",
    "training_comment": "a name for the run is in output.name",
    "debug_dataset": "the Dataset page shows the pictures",
    "output_config": "this import writes a preset",
    "config_file": "its settings are listed by themselves",
    "ddp_timeout": "caching is shared out over the GPUs, so that none waits long",
    **dict.fromkeys(("ddp_gradient_as_bucket_view", "ddp_static_graph"), "seen to"),
    **dict.fromkeys(
        (
            "weighting_scheme",
            "logit_mean",
            "logit_std",
            "mode_scale",
            "t5xxl",
            "clip_l",
            "clip_g",
            "ae",
            "guidance_scale",
            "timestep_sampling",
            "sigmoid_scale",
            "discrete_flow_shift",
            "model_prediction_type",
            "apply_t5_attn_mask",
            "t5xxl_device",
            "t5xxl_dtype",
            "t5xxl_max_token_length",
            "split_mode",
            "train_blocks",
            "single_blocks_to_swap",
            "double_blocks_to_swap",
            "save_clip",
            "save_t5xxl",
            "flux1_checkbox",
            "sd3_checkbox",
        ),
        _OTHER_MODELS,
    ),
    **dict.fromkeys(
        ("weights", "num_vectors_per_token", "token_string", "init_word", "use_object_template", "use_style_template"),
        _EMBEDDING,
    ),
    **dict.fromkeys(
        (
            "train_dir",
            "batch_size",
            "create_caption",
            "create_buckets",
            "generate_caption_database",
            "generate_image_buckets",
            "full_path",
            "use_latent_files",
            "model_list",
            "save_as_bool",
            "noise_offset_type",
            "use_shell",
        ),
        _PREPARED,
    ),
    "validation_seed": "of the training's own validation",
}

#: By name: what is lost without it.
LACKING = {
    "weighted_captions": "weights of words (like this:1.2) are read as plain text",
    "no_token_padding": "captions are always padded to the length that the model knows",
    "cpu_offload_checkpointing": "activations are recomputed, not kept in RAM",
    "blocks_to_swap": "blocks are not swapped to RAM",
    **dict.fromkeys(
        (
            "offload_param_device",
            "offload_param_nvme_path",
            "offload_optimizer_nvme_path",
            "zero3_init_flag",
            "zero3_save_16bit_model",
            "fp16_master_weights_and_gradients",
        ),
        "a detail of DeepSpeed that Burnish does not set",
    ),
    **dict.fromkeys(
        (
            "metadata_title",
            "metadata_author",
            "metadata_description",
            "metadata_license",
            "metadata_tags",
            "metadata_usage_hint",
            "metadata_thumbnail",
            "metadata_merged_from",
            "metadata_trigger_phrase",
            "metadata_preprocessor",
            "metadata_is_negative_embedding",
        ),
        "this line of the metadata is not written",
    ),
}

#: Options of "accelerate launch" that Burnish's own launch makes needless.
_LAUNCH_UNNEEDED = {
    "num_cpu_threads_per_process": "threads are chosen by the worker",
    "config_file": "Burnish makes its own launch; the number of GPUs is hardware.processes",
    "mixed_precision": "training.precision decides",
    "dynamo_backend": "off",
    "dynamo_mode": "for torch.compile only",
    "dynamo_use_dynamic": "for torch.compile only",
    "dynamo_use_fullgraph": "for torch.compile only",
    "quiet": "how much is said on the terminal",
    "debug": "how much is said on the terminal",
    "module": "how the script is named",
    "m": "how the script is named",
    "no_python": "how the script is named",
    "tee": "how much is said on the terminal",
    "log_dir": "the worker writes its own console.log",
    "enable_cpu_affinity": "seen to",
    "downcast_bf16": "for TPUs only",
    "gradient_accumulation_steps": "training.accumulation decides",
    "monitor_interval": "Burnish makes its own launch",
    "max_restarts": "a run goes on from its newest state",
    "multi_gpu": "one GPU",
    "cpu": "off",
}

_OFF = ("", "0", "0.0", "false", "none")


def settle(job: Job) -> None:
    """Answer what no other chapter has answered."""
    for name, given in list(job.flags.items()):
        if given.part == "accelerate":
            why = _LAUNCH_UNNEEDED.get(given.name)
            note = why or "an option of accelerate that Burnish's launch has not"
            job.answer(name, "unneeded" if why else "unknown", note=note)
        elif name in UNNEEDED:
            job.answer(name, "unneeded", note=UNNEEDED[name])
        elif name.startswith(("gui_only.", "ignored.")):
            job.answer(name, "unneeded")
        elif str(given.value).lower() in _OFF or str(job.value(name)).lower() in _OFF:
            job.answer(name, "unneeded", note="off")
        elif name in LACKING:
            job.lacking(name, LACKING[name])
        elif field := job.draft.by_alias(name):
            job.take(name, field)
