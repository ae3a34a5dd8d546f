"""The network of a run in a file that needs no semisup: ONNX, or a program of torch.export."""
