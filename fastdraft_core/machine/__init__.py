"""The machine: processors, memory and its bandwidth, devices, and what else runs on them."""
