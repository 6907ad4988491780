"""The runtime on OpenVINO, and the conversion of models for it."""
