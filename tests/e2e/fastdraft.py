"""``fastdraft`` as a module, for a pseudo-terminal: ``python -m tests.e2e.fastdraft ARGS``."""

from __future__ import annotations

from fastdraft_core.cli import main

if __name__ == "__main__":
    main()
