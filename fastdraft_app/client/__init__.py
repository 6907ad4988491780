"""The only place of the app that starts processes."""
