"""Measurements through the same engine and the same rules as production."""
