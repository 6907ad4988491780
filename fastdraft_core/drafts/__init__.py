"""The shape of a draft: configurations and what they cost."""
