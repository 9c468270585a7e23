"""Readers that decode the bytes of a sound file into samples: one for each kind of decoder, joined by `sound.SoundReader`."""
