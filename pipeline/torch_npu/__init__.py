"""What is known of torch_npu, as data, and the manifest that a conversion makes of it."""
