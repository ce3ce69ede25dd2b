"""The public way to the weights: upstream files in, exactly the ONNX files of the manifest out.

Deterministic, with numpy and onnx alone; nothing of a model file is ever executed.
"""
