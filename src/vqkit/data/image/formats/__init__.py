"""Image formats of which Pillow tells too little: their pixels at full depth, and how their colours are meant."""
