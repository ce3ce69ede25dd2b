"""Pictures in, verdicts out: one room per step, and `engine` alone knows their order."""
