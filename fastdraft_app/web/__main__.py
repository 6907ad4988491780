"""``python -m fastdraft_app.web``: the app, speaking textual-serve's protocol instead of a terminal's."""

from __future__ import annotations

import os
import sys

# Textual reads it once, when it is first imported.
os.environ["TEXTUAL_DRIVER"] = "fastdraft_app.web.driver:PageDriver"

from fastdraft_app.app import main

sys.exit(main())
