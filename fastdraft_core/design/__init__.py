"""The design study: at a fixed number of parameters, which depth and width is the fastest draft on this machine."""
