"""Preflight: the rules of `pipeline/cann`, asked of a graph."""
