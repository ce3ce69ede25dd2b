"""The verifier over HTTP: thin routes around the batcher, the vault and the stream hub."""
