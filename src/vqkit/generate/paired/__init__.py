"""Paired clips for machines without videos: music from a seed, and scenes whose motion, cuts and colour follow it."""

from vqkit.generate.paired.clips import write_pairs

__all__ = ["write_pairs"]
