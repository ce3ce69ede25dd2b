"""Frames in, verdicts out: finds the face, checks that it is alive, compares it with a template."""
