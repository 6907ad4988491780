"""Models as files: which there are, what they are called, what they weigh, and how they arrive."""
