"""Paired clips for machines without videos: music from a seed, and scenes whose motion, cuts and colour follow it (`clips.write_pairs`)."""
