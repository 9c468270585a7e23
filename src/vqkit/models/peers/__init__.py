"""Models and checkpoints of other libraries: transformers and diffusers."""
