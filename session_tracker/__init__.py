"""Verdicts in, hours out: credits study time only to intervals that were verified."""
