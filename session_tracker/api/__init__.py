"""The tracker over HTTP: a thin edge; every route parses, calls one function, shapes the answer."""
