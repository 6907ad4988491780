"""The terminal under the app: its clipboard, its modes, and what guards it."""
