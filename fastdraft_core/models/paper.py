"""What the paper states (arXiv 2411.11055): acceptance by stage, to stand beside what was measured here."""

from __future__ import annotations

#: How the figures of ``ACCEPTANCE`` were taken; nothing else may be compared with them without saying so.
SETTING = "gamma 3, sampled at T 0.6"
TASKS = ("CNN-DM", "TinyStories", "Dolly", "HumanEval")
#: Accepted/drafted by pair and by stage, in the order of ``TASKS``.
ACCEPTANCE: dict[str, dict[str, tuple[float, ...]]] = {
    "Phi-3-mini, draft of 50M": {
        "pt": (0.311, 0.277, 0.245, 0.229),
        "cp": (0.304, 0.287, 0.226, 0.561),
        "ft": (0.369, 0.306, 0.370, 0.562),
    },
    "Llama-3.1-8B, draft of 150M": {
        "pt": (0.280, 0.227, 0.247, 0.248),
        "cp": (0.280, 0.235, 0.273, 0.606),
        "ft": (0.307, 0.266, 0.334, 0.649),
    },
}
