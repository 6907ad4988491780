"""Settings: their file, their fields and their screen."""
