"""Image files ↔ ``.vqk`` files."""
