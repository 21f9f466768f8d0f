"""Writes MindIR from ONNX: load -> lower (one function per operator) -> write."""
