"""The job screens: trainings that run, wait or have ended."""
