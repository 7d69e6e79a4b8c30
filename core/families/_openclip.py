"""Names of an OpenCLIP text encoder (SDXL's second, SD 2.x's only one) in single files; strings only.

OpenCLIP keeps queries, keys and values of a layer as one tensor, and the text projection the other way round.
"""

from __future__ import annotations

from core.families._layout import Place

_TOP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}


def place(key: str, prefix: str) -> Place:
    """Place of a tensor of transformers' CLIPTextModel(WithProjection); KeyError for one that the layout lacks."""
    key = key.removeprefix("text_model.")
    if key == "text_projection.weight":
        return Place(f"{prefix}text_projection", transposed=True)
    if key in _TOP:
        return Place(prefix + _TOP[key])
    _, _, number, inner = key.split(".", 3)
    module, _, leaf = inner.rpartition(".")
    layer = f"{prefix}transformer.resblocks.{number}."
    third = _THIRDS.get(module.removeprefix("self_attn."))
    if third is not None:
        return Place(f"{layer}attn.in_proj_{leaf}", third=third)
    return Place(f"{layer}{_LAYER[module]}.{leaf}")
