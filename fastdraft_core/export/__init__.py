"""A draft in the forms that other programs take, each with its card."""
