"""The precision forecast: what a chip's lower precision would do, simulated on the CPU."""
