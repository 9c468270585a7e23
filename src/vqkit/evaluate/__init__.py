"""Finished codecs, classical ones and vqkit's own, at the rates that they really spend."""
