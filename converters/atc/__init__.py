"""Driving Huawei's own compiler, ATC, where CANN is installed: ONNX in, .om out.

None of this has met the real ATC: it is written against its documents and sources, and tested up
to that border.
"""
