"""Streams: frames of one session in, presence, identity and check events out.

`http` (the upload route) is the first way in; a transport adds nothing but bytes and a token.
"""
