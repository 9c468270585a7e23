"""Images: files of any format → tensors and data sets, and tensors → files."""
