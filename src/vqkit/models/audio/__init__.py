"""Codecs: models of sound that have codes."""
