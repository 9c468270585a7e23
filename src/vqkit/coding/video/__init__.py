"""Video files ↔ ``.vqk`` files."""
