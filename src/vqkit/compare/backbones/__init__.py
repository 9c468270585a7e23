"""Backbones to put a quantizer into: one file each, with a class `Backbone`; ``--backbone frames`` is ``frames.py``."""
