"""Ways to run a model, each behind the protocol of ``base``."""
