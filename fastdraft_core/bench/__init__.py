"""Measure pairs: prompts, interleaved runs, intervals, costs and predictions."""
