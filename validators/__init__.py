"""How we know it is still the same model: one module per kind of check."""
