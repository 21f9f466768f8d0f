"""One small function per ONNX operator; importing a module registers its functions."""
