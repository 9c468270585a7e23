"""BRIDLE: an encoder that learns to predict the codes of its own tokenizer, for sound, images and video."""

from vqkit.models.bridle.bridle import Bridle
from vqkit.models.bridle.build import preset
from vqkit.models.bridle.stack import Stack

__all__ = ["Bridle", "Stack", "preset"]
