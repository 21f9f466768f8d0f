"""How one form becomes another: one module per edge, named ``<from>_to_<to>``."""
