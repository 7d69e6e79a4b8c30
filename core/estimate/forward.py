"""The forward passes of UNet, text encoder and VAE on the tape, in the order in which diffusers and transformers go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.anatomy.encoders import has_projection
from core.anatomy.unet import Block, UnetPlan, plan_unet
from core.estimate.network import Network
from core.estimate.tape import Tensor


class Unet:
    """diffusers' UNet2DConditionModel.

    Variables hold what the real ones hold, for as long: what a name still refers to is not free.
    """

    def __init__(self, net: Network, config: Mapping[str, Any], checkpointing: bool) -> None:
        self.net = net
        self.plan: UnetPlan = plan_unet(config)
        self._checkpointing = checkpointing

    def __call__(self, latents: Tensor, context: Tensor, pooled: Tensor | None) -> Tensor:
        """Noise (b, 4, h, w) from latents of that shape and text states (b, tokens, width); pooled ones for SDXL."""
        net, batch = self.net, latents.shape[0]
        time = self._embedding(net.tape.new((batch, self.plan.base), latents.size), "time_embedding")
        if self.plan.added_width and pooled is not None:
            added = self._embedding(net.tape.new((batch, self.plan.added_width), latents.size), "add_embedding")
            time = net.add(time, added)
        x = net.conv(latents, "conv_in")
        skips = [x]
        for block in self.plan.down:
            x = self._down(block, x, time, context, skips)
        if self.plan.mid:
            x = self._middle(self.plan.mid, x, time, context)
        for block in self.plan.up:
            count = len(block.resnets)
            taken, skips = skips[-count:], skips[:-count]
            size = skips[-1].shape[2:] if skips else ()
            x = self._up(block, x, time, context, taken, size)
        x = net.norm(x, "conv_norm_out")
        x = net.act(x)
        return net.conv(x, "conv_out")

    def _embedding(self, x: Tensor, name: str) -> Tensor:
        return self.net.linear(self.net.act(self.net.linear(x, f"{name}.linear_1")), f"{name}.linear_2")

    def _resnet(self, path: str, x: Tensor, time: Tensor) -> Tensor:
        def run(x: Tensor, time: Tensor) -> Tensor:
            return resnet(self.net, path, x, time)

        return self.net.tape.checkpoint(run, x, time) if self._checkpointing else run(x, time)

    def _down(self, block: Block, x: Tensor, time: Tensor, context: Tensor, skips: list[Tensor]) -> Tensor:
        for number in range(len(block.resnets)):
            x = self._resnet(f"{block.path}.resnets.{number}", x, time)
            if block.depths:
                x = self._transformer(block, number, x, context)
            skips.append(x)
        if block.sampler:
            x = self.net.conv(x, f"{block.path}.downsamplers.0.conv", 2)
            skips.append(x)
        return x

    def _middle(self, block: Block, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        first = f"{block.path}.resnets.0"
        x = resnet(self.net, first, x, time)
        for number in range(len(block.depths)):
            x = self._transformer(block, number, x, context)
            x = self._resnet(f"{block.path}.resnets.{number + 1}", x, time)
        return x

    def _up(
        self, block: Block, x: Tensor, time: Tensor, context: Tensor, skips: list[Tensor], size: tuple[int, ...]
    ) -> Tensor:
        for number in range(len(block.resnets)):
            x = self.net.cat(x, skips[-1 - number])
            x = self._resnet(f"{block.path}.resnets.{number}", x, time)
            if block.depths:
                x = self._transformer(block, number, x, context)
        if block.sampler:
            x = self.net.upsample(x, (*x.shape[:2], *size))
            x = self.net.conv(x, f"{block.path}.upsamplers.0.conv")
        return x

    def _transformer(self, block: Block, number: int, x: Tensor, context: Tensor) -> Tensor:
        """Transformer2DModel; each of its layers is a checkpoint of its own."""
        net, path = self.net, f"{block.path}.attentions.{number}"
        residual = x
        batch, width, height, breadth = x.shape
        tokens = (batch, height * breadth, width)
        x = net.norm(x, f"{path}.norm")
        if self.plan.linear_projection:
            x = self._to_tokens(x, tokens)
            x = net.linear(x, f"{path}.proj_in")
        else:
            x = net.conv(x, f"{path}.proj_in")
            x = self._to_tokens(x, tokens)
        for layer in range(block.depths[number]):
            x = self._layer(f"{path}.transformer_blocks.{layer}", x, context, block.heads)
        if self.plan.linear_projection:
            x = net.linear(x, f"{path}.proj_out")
            x = net.copy(x, residual.shape)
        else:
            x = net.copy(x, residual.shape)
            x = net.conv(x, f"{path}.proj_out")
        return net.add(x, residual)

    def _to_tokens(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Pictures as rows of tokens: for nothing where they lie channels last."""
        return x.viewed(shape) if self.net.how.cuda else self.net.copy(x, shape)

    def _layer(self, path: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
        def run(x: Tensor, context: Tensor) -> Tensor:
            return attention_layer(self.net, path, x, context, heads)

        return self.net.tape.checkpoint(run, x, context) if self._checkpointing else run(x, context)


def resnet(net: Network, path: str, x: Tensor, time: Tensor | None = None) -> Tensor:
    """diffusers' ResnetBlock2D."""
    h = net.norm(x, f"{path}.norm1")
    h = net.act(h)
    h = net.conv(h, f"{path}.conv1")
    if time is not None:
        time = net.act(time)
        time = net.linear(time, f"{path}.time_emb_proj")
        h = net.add(h, time)
    h = net.norm(h, f"{path}.norm2")
    h = net.act(h)
    h = net.conv(h, f"{path}.conv2")
    if f"{path}.conv_shortcut" in net.layers:
        x = net.conv(x, f"{path}.conv_shortcut")
    return net.scale(net.add(x, h))


def attention_layer(net: Network, path: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
    """diffusers' BasicTransformerBlock."""
    normed = net.norm(x, f"{path}.norm1")
    mixed = _attention(net, f"{path}.attn1", normed, normed, heads)
    x = net.add(mixed, x)
    normed = net.norm(x, f"{path}.norm2")
    mixed = _attention(net, f"{path}.attn2", normed, context, heads)
    x = net.add(mixed, x)
    normed = net.norm(x, f"{path}.norm3")
    inner = net.gated(net.linear(normed, f"{path}.ff.net.0.proj"))
    inner = net.linear(inner, f"{path}.ff.net.2")
    return net.add(inner, x)


def _attention(net: Network, path: str, x: Tensor, context: Tensor, heads: int) -> Tensor:
    """AttnProcessor2_0 or, on a CPU under autocast, core/engine/attention.py with its 4 bytes."""
    wide = net.how.half and not net.how.cuda
    parts, sizes = [], []
    for end, source in (("to_q", x), ("to_k", context), ("to_v", context)):
        part = net.linear(source, f"{path}.{end}")
        sizes.append(part.size)
        parts.append(net.cast(part, 4) if wide else part)
    mixed = net.attention(parts, heads)
    if wide:
        mixed = net.cast(mixed, sizes[0])
    mixed = net.linear(mixed, f"{path}.to_out.0")
    return mixed if wide else net.scale(mixed)


def clip(net: Network, config: Mapping[str, Any], batch: int, tokens: int, checkpointing: bool) -> Tensor:
    """transformers' CLIPTextModel: states (batch, tokens, width) after all its layers."""
    prefix = "text_model." if has_projection(config) else ""
    width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    words = net.layers[f"{prefix}embeddings.token_embedding"]
    table = net.embedding(words, (batch, tokens, width))
    x = net.add(table, net.embedding(net.layers[f"{prefix}embeddings.position_embedding"], (1, tokens, width)))

    def layer(path: str, x: Tensor) -> Tensor:
        return _clip_layer(net, path, x, heads)

    for number in range(int(config["num_hidden_layers"])):
        path = f"{prefix}encoder.layers.{number}"
        x = net.tape.checkpoint(lambda given, at=path: layer(at, given), x) if checkpointing else layer(path, x)
    return net.norm(x, f"{prefix}final_layer_norm")


def _clip_layer(net: Network, path: str, x: Tensor, heads: int) -> Tensor:
    residual = x
    x = net.norm(x, f"{path}.layer_norm1")
    parts = [net.linear(x, f"{path}.self_attn.{end}") for end in ("q_proj", "k_proj", "v_proj")]
    x = net.linear(net.attention(parts, heads), f"{path}.self_attn.out_proj")
    x = net.add(residual, x)
    residual = x
    x = net.norm(x, f"{path}.layer_norm2")
    x = net.linear(net.quick_gelu(net.linear(x, f"{path}.mlp.fc1")), f"{path}.mlp.fc2")
    return net.add(residual, x)


def vae_decode(net: Network, config: Mapping[str, Any], latents: Tensor) -> Tensor:
    """AutoencoderKL's decoder: pictures (b, 3, h, w)."""
    if "post_quant_conv" in net.layers:
        latents = net.conv(latents, "post_quant_conv")
    x = net.conv(latents, "decoder.conv_in")
    x = _vae_middle(net, "decoder.mid_block", x)
    widths = config["block_out_channels"]
    for block in range(len(widths)):
        for number in range(int(config.get("layers_per_block", 1)) + 1):
            x = resnet(net, f"decoder.up_blocks.{block}.resnets.{number}", x)
        if block < len(widths) - 1:
            x = net.upsample(x, (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
            x = net.conv(x, f"decoder.up_blocks.{block}.upsamplers.0.conv")
    x = net.norm(x, "decoder.conv_norm_out")
    x = net.act(x)
    return net.conv(x, "decoder.conv_out")


def vae_encode(net: Network, config: Mapping[str, Any], pixels: Tensor) -> Tensor:
    """AutoencoderKL's encoder: means and variances (b, 8, h/8, w/8)."""
    x = net.conv(pixels, "encoder.conv_in")
    widths = config["block_out_channels"]
    for block in range(len(widths)):
        for number in range(int(config.get("layers_per_block", 1))):
            x = resnet(net, f"encoder.down_blocks.{block}.resnets.{number}", x)
        if block < len(widths) - 1:
            x = net.conv(x, f"encoder.down_blocks.{block}.downsamplers.0.conv", 2)
    x = _vae_middle(net, "encoder.mid_block", x)
    x = net.norm(x, "encoder.conv_norm_out")
    x = net.act(x)
    x = net.conv(x, "encoder.conv_out")
    return net.conv(x, "quant_conv") if "quant_conv" in net.layers else x


def _vae_middle(net: Network, path: str, x: Tensor) -> Tensor:
    x = resnet(net, f"{path}.resnets.0", x)
    attention = f"{path}.attentions.0"
    if f"{attention}.to_q" in net.layers:
        residual, tokens = x, (x.shape[0], x.shape[2] * x.shape[3], x.shape[1])
        x = net.norm(x, f"{attention}.group_norm").viewed(tokens)
        parts = [net.linear(x, f"{attention}.{end}") for end in ("to_q", "to_k", "to_v")]
        x = net.linear(net.attention(parts, 1), f"{attention}.to_out.0").viewed(residual.shape)
        x = net.scale(net.add(x, residual))
    return resnet(net, f"{path}.resnets.1", x)
