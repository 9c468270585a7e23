"""Sound: files of any format → waveforms, blocks, clips and crops, and waveforms → files."""
