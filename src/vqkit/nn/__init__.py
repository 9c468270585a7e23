"""Networks that no library has in the form needed."""

from vqkit.nn.data_init import scale_convolutions
from vqkit.nn.efficientnet_lite import EfficientNetLite0
from vqkit.nn.patch_discriminator import PatchDiscriminator
from vqkit.nn.perceptual import PerceptualDistance, Trunk
from vqkit.nn.stft_discriminator import Judgement, STFTDiscriminator
from vqkit.nn.vgg import VGG16
from vqkit.quantize.balanced_rotation import balanced_rotation

__all__ = [
    "VGG16",
    "EfficientNetLite0",
    "Judgement",
    "PatchDiscriminator",
    "PerceptualDistance",
    "STFTDiscriminator",
    "Trunk",
    "balanced_rotation",
    "scale_convolutions",
]
