"""Lightning data modules: files of one modality → training batches and validation items."""
