"""Image formats for which Pillow is not enough: their pixels at full depth, and the meaning of their colours."""
