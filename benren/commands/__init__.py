"""One module per command of `benren`; thin: parse, call, print."""
