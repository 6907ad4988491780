"""``python -m fastdraft_core.cli ARGS`` is ``fastdraft ARGS``, for programs that start it with their own Python."""

from __future__ import annotations

from fastdraft_core.cli import main

if __name__ == "__main__":
    main()
