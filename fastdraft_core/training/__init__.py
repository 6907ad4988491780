"""Recipes, and the loop that runs them: PT, CP and FT as generators of events."""
