"""``fastdraft`` whose trainings compute in float32 and report every step, so that two of them can be compared.

Where the processor has bfloat16, its rounding makes steps of the order of summation.
"""

from __future__ import annotations

from fastdraft_core.cli import main
from fastdraft_core.training import loop, processes


def exact() -> None:
    """Have this process train so."""
    loop._EVENT_SECONDS = 0.0
    processes.choose_dtype = lambda device: "float32"


if __name__ == "__main__":
    exact()
    main()
