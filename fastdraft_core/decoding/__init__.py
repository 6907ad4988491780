"""Autoregressive and speculative decoding; the mathematics is pure functions."""
