"""A job is a folder: recipe, events, log, checkpoints."""
