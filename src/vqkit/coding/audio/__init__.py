"""Files of sound ↔ ``.vqk`` files."""
