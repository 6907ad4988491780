"""A pair of models, loaded on a chosen runtime, and the process that decodes with it for the app."""
