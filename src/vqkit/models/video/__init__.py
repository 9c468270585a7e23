"""Tokenizers of video: clips to codes of tubelets and back."""
