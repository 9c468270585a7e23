"""From the bytes of a sound file to samples: one reader for each kind of decoder, joined by `sound.SoundReader`."""
