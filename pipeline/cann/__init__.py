"""What CANN's ONNX parser and compiler take, as data with its sources: one file a generation."""
