"""The models screen: what lies on this machine, and which draft fits which target."""
