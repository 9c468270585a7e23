"""Data sets that keep many images in one file or one saved folder: IDX, CIFAR-10, NPZ and Arrow."""
