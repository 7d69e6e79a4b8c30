"""SNR weighting of the picture's error, which is the plain error of the noise (Salimans and Ho 2022, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LABEL = "SNR"
HELP = (
    "Weighs the error of the picture by the signal-to-noise ratio. A model that predicts v is then asked for the same "
    "as one that predicts noise (kohya's scale_v_pred_loss_like_noise_pred); for one that predicts noise it changes "
    "nothing."
)
ORDER = 30


def weights(snr: torch.Tensor, options: None) -> torch.Tensor | None:
    """Ones: the squared error of the noise as it is, for each of the batch's pictures; shape (batch,)."""
    import torch

    return torch.ones_like(snr)
