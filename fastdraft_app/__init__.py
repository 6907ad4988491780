"""The terminal app. Importing this package loads nothing: no Textual, no model library."""
