"""Training: Lightning modules and data modules, checkpoints that are never pickled, and the ``vqkit train`` command."""

from vqkit.moved import keep_old_names
from vqkit.types import need

need("lightning", "train")

from vqkit.training.adversary import Adversary  # noqa: E402
from vqkit.training.bridle.autoencoder import PatchAutoencoderModule  # noqa: E402
from vqkit.training.bridle.module import BridleModule  # noqa: E402
from vqkit.training.bridle.phases import BridlePhase  # noqa: E402
from vqkit.training.data.audio import AudioDataModule  # noqa: E402
from vqkit.training.data.image import ImageDataModule  # noqa: E402
from vqkit.training.data.video import VideoDataModule  # noqa: E402
from vqkit.training.generator.data import GeneratorDataModule  # noqa: E402
from vqkit.training.generator.module import GeneratorModule  # noqa: E402
from vqkit.training.optimisation import Optimisation  # noqa: E402
from vqkit.training.phase import Phase  # noqa: E402
from vqkit.training.phased_module import PhasedModule  # noqa: E402
from vqkit.training.reconstruction.codec import CodecModule  # noqa: E402
from vqkit.training.reconstruction.image import ImageModule  # noqa: E402
from vqkit.training.reconstruction.module import (  # noqa: E402
    FitQuantizer,
    ReconstructionModule,
    ReconstructionPhase,
)
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO  # noqa: E402
from vqkit.training.runs.files import RunFiles  # noqa: E402
from vqkit.training.runs.run import train  # noqa: E402
from vqkit.training.runs.weight_average import WeightAverage  # noqa: E402

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

_RUNS = "run checkpoint_io progress seeding start weight_average"
keep_old_names(
    __name__,
    {
        "bridle_module": "vqkit.training.bridle.module",
        "bridle_phases": "vqkit.training.bridle.phases",
        "bridle_usage": "vqkit.training.bridle.usage",
        "autoencoder_module": "vqkit.training.bridle.autoencoder",
        **{f"{name}_data": f"vqkit.training.data.{name}" for name in ["audio", "image", "video"]},
        "generator_data": "vqkit.training.generator.data",
        **{name: f"vqkit.training.generator.{name}" for name in ["diffusion", "token_streams", "token_tables"]},
        "codec_module": "vqkit.training.reconstruction.codec",
        "image_module": "vqkit.training.reconstruction.image",
        **{name: f"vqkit.training.reconstruction.{name}" for name in ["quantizer_start", "validation"]},
        **{name: f"vqkit.training.runs.{name}" for name in _RUNS.split()},
        "restartable": "vqkit.training.runs.run",
        "run_files": "vqkit.training.runs.files",
    },
)
