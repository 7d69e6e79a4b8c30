"""The flags that sd-scripts' parsers know, by the values they take; so that words are cut and misspellings found."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Switches: they take no value.
SWITCHES = _names("""
    alpha_mask async_upload bucket_no_upscale cache_info cache_latents cache_latents_to_disk cache_text_encoder_outputs
    cache_text_encoder_outputs_to_disk color_aug console_log_simple cpu_offload_checkpointing
    ddp_gradient_as_bucket_view ddp_static_graph debiased_estimation_loss debug_dataset deepspeed diffusers_xformers
    dim_from_weights disable_mmap_load_safetensors enable_bucket enable_wildcard flip_aug
    fp16_master_weights_and_gradients fp8_base fp8_base_unet full_bf16 full_fp16 fused_backward_pass
    gradient_checkpointing highvram ip_noise_gamma_random_strength log_config lowram masked_loss mem_eff_attn
    mem_eff_save network_train_text_encoder_only network_train_unet_only no_half_vae no_metadata no_token_padding
    noise_offset_random_strength output_config persistent_data_loader_workers random_crop resume_from_huggingface
    sample_at_first save_state save_state_on_train_end save_state_to_huggingface scale_v_pred_loss_like_noise_pred sdpa
    sdxl shuffle_caption skip_cache_check skip_latents_validity_check skip_until_initial_step torch_compile
    train_text_encoder use_8bit_adam use_lion_optimizer use_object_template use_safetensors use_style_template v2
    v_parameterization weighted_captions xformers zero3_init_flag zero3_save_16bit_model zero_terminal_snr
""")

#: Flags that take any number of values.
LISTS = _names("""
    base_weights base_weights_multiplier lr_scheduler_args network_args optimizer_args text_encoder_lr
""")

#: Flags that take one value.
SINGLE = _names("""
    adaptive_noise_scale block_lr blocks_to_swap bucket_reso_steps caption_dropout_every_n_epochs caption_dropout_rate
    caption_extension caption_extention caption_prefix caption_separator caption_suffix caption_tag_dropout_rate
    clip_skip conditioning_data_dir config_file console_log_file console_log_level dataset_class dataset_config
    dataset_repeats ddp_timeout dynamo_backend face_crop_aug_range fused_optimizer_groups gradient_accumulation_steps
    huber_c huber_scale huber_schedule huggingface_path_in_repo huggingface_repo_id huggingface_repo_type
    huggingface_repo_visibility huggingface_token in_json init_word initial_epoch initial_step ip_noise_gamma
    keep_tokens keep_tokens_separator learning_rate learning_rate_te learning_rate_te1 learning_rate_te2 log_prefix
    log_tracker_config log_tracker_name log_with logging_dir logit_mean logit_std loss_type lr_decay_steps lr_scheduler
    lr_scheduler_min_lr_ratio lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_timescale lr_scheduler_type
    lr_warmup_steps max_bucket_reso max_data_loader_n_workers max_grad_norm max_timestep max_token_length
    max_train_epochs max_train_steps max_validation_steps metadata_author metadata_description
    metadata_is_negative_embedding metadata_license metadata_merged_from metadata_preprocessor metadata_tags
    metadata_thumbnail metadata_title metadata_trigger_phrase metadata_usage_hint min_bucket_reso min_snr_gamma
    min_timestep mixed_precision mode_scale multires_noise_discount multires_noise_iterations network_alpha network_dim
    network_dropout network_module network_weights noise_offset num_vectors_per_token offload_optimizer_device
    offload_optimizer_nvme_path offload_param_device offload_param_nvme_path optimizer_type output_dir output_name
    pretrained_model_name_or_path prior_loss_weight reg_data_dir resize_interpolation resolution resume
    sample_every_n_epochs sample_every_n_steps sample_prompts sample_sampler save_every_n_epochs save_every_n_steps
    save_last_n_epochs save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_model_as
    save_n_epoch_ratio save_precision scale_weight_norms secondary_separator seed stop_text_encoder_training
    text_encoder_batch_size token_string token_warmup_min token_warmup_step tokenizer_cache_dir train_batch_size
    train_data_dir training_comment unet_lr v_pred_like_loss vae vae_batch_size validate_every_n_epochs
    validate_every_n_steps validation_seed validation_split wandb_api_key wandb_run_name weighting_scheme weights
    zero_stage
""")

KNOWN = SWITCHES | LISTS | SINGLE

#: Old or second spellings.
SPELLINGS = {"caption_extention": "caption_extension"}

#: Switches of "accelerate launch"; its other options take one value each.
LAUNCH_SWITCHES = _names("""
    cpu debug downcast_bf16 dynamo_use_dynamic dynamo_use_fullgraph dynamo_use_regional_compilation enable_cpu_affinity
    module multi_gpu no_python no_tpu_cluster quiet same_network tee tpu tpu_cluster tpu_use_sudo use_deepspeed
    use_fsdp use_megatron_lm use_parallelism_config use_xpu m
""")
