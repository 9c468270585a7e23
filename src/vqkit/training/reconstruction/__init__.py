"""Training of what reconstructs: audio codecs and image tokenizers."""

from vqkit.training.reconstruction.module import FitQuantizer, ReconstructionModule, ReconstructionPhase

__all__ = ["FitQuantizer", "ReconstructionModule", "ReconstructionPhase"]
