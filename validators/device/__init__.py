"""Runtimes of an Ascend host.

None was at hand where this was written: what no one could run is marked "not verified on device".
"""
