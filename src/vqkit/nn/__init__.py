"""Networks that no library has in the form needed."""

from vqkit.nn.balanced_rotation import balanced_rotation
from vqkit.nn.data_init import scale_convolutions
from vqkit.nn.stft_discriminator import Judgement, STFTDiscriminator

__all__ = ["Judgement", "STFTDiscriminator", "balanced_rotation", "scale_convolutions"]
