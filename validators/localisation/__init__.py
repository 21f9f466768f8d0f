"""Where an artifact first differs from its original, and what kind of fault that looks like."""
