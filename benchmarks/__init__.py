"""Measurements through the same engine as production: accuracy, liveness, and what follows."""
