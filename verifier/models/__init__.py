"""Weights in, numbers out: no policy. ``packs.load_pack`` is the way in."""
