"""What of a model's tensors and code is different under torch_npu: looked at, never run."""
