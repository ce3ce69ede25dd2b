"""From upstream's files to graphs that run: converted, rewritten for an engine, and proven.

`build` is the public way to the weights: exactly the ONNX files of the manifest come out.
`rewriting` is what is done to them in memory, and `proof` what it must pass. Deterministic, with
numpy and onnx alone; nothing of a model file is ever executed as code.
"""
