"""The system screen: this machine, and whether a measurement would count now."""
