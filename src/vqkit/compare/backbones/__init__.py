"""What a quantizer can be put into: one file a backbone, each with a class `Backbone`; ``--backbone frames`` is ``frames.py``."""
