"""Text in, fixed-length training rows out: sources, tokenizers, shards, mixtures, synthesis."""
