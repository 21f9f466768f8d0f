"""The weight ledger: where every source tensor lies in an artifact, and the other way round."""
