"""The runtime on PyTorch."""
