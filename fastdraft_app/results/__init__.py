"""The results screens: what was measured before, and comparisons of it."""
