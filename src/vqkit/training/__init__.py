"""Training: Lightning modules and data modules, checkpoints that are never pickled, and the ``vqkit train`` command."""

from vqkit.types import need

need("lightning", "train")

from vqkit.training.adversary import Adversary  # noqa: E402
from vqkit.training.audio_data import AudioDataModule  # noqa: E402
from vqkit.training.autoencoder_module import PatchAutoencoderModule  # noqa: E402
from vqkit.training.bridle_module import BridleModule  # noqa: E402
from vqkit.training.bridle_phases import BridlePhase  # noqa: E402
from vqkit.training.checkpoint_io import SafeCheckpointIO  # noqa: E402
from vqkit.training.codec_module import CodecModule  # noqa: E402
from vqkit.training.generator import GeneratorModule  # noqa: E402
from vqkit.training.generator_data import GeneratorDataModule  # noqa: E402
from vqkit.training.image_data import ImageDataModule  # noqa: E402
from vqkit.training.image_module import ImageModule  # noqa: E402
from vqkit.training.optimisation import Optimisation  # noqa: E402
from vqkit.training.phase import Phase  # noqa: E402
from vqkit.training.phased_module import PhasedModule  # noqa: E402
from vqkit.training.reconstruction import (  # noqa: E402
    FitQuantizer,
    ReconstructionModule,
    ReconstructionPhase,
)
from vqkit.training.run import train  # noqa: E402
from vqkit.training.run_files import RunFiles  # noqa: E402
from vqkit.training.video_data import VideoDataModule  # noqa: E402
from vqkit.training.weight_average import WeightAverage  # noqa: E402

__all__ = [
    "Adversary",
    "AudioDataModule",
    "BridleModule",
    "BridlePhase",
    "CodecModule",
    "FitQuantizer",
    "GeneratorDataModule",
    "GeneratorModule",
    "ImageDataModule",
    "ImageModule",
    "Optimisation",
    "PatchAutoencoderModule",
    "Phase",
    "PhasedModule",
    "ReconstructionModule",
    "ReconstructionPhase",
    "RunFiles",
    "SafeCheckpointIO",
    "VideoDataModule",
    "WeightAverage",
    "train",
]
