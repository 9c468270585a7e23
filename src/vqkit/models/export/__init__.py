"""Models for programs without PyTorch."""

from vqkit.models.export.codec import export_onnx

__all__ = ["export_onnx"]
