"""Detection power: faults planted in an artifact, and what of them a verdict would have seen."""
