"""What a migration is: its records, its sources, its evidence, the gate and the registry."""
