"""Training of what generates: codes one after the other, and latents by diffusion."""

from vqkit.training.generator.module import GeneratorModule

__all__ = ["GeneratorModule"]
