"""Surgery for CANN's ONNX parser: one small function per rewrite, each named after its rule."""
