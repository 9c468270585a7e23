"""Networks that no library has in the form needed."""

from vqkit.nn.data_init import scale_convolutions
from vqkit.nn.stft_discriminator import Judgement, STFTDiscriminator

__all__ = ["Judgement", "STFTDiscriminator", "scale_convolutions"]
