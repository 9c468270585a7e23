"""A run from its first step to its last: folder, checkpoints, seeds, progress, and going on where it was interrupted."""
