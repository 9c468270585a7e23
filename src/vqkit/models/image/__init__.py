"""Image tokenizers: models of images that have codes."""
