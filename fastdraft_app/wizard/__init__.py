"""The wizard: questions whose answers are a recipe."""
