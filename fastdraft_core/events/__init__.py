"""Every message that leaves core: typed, tagged, JSON-encodable.

One line of JSON is one event; the tag ``type`` names the class. Times are seconds, memory is
bytes, rates are per second. The app, the command line, job folders and recordings all hold these.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fastdraft_core.events.base import Event
from fastdraft_core.events.checking import (
    Check,
    CheckStatus,
    GreedyChecked,
    LawChecked,
    Parting,
    RuntimeChecked,
    Verified,
)
from fastdraft_core.events.commands import Cancel, Exchange, Load, Quit, Run
from fastdraft_core.events.decoding import (
    Block,
    Candidate,
    Detail,
    FirstToken,
    Opinion,
    RunFinished,
    RunMetrics,
    RunStarted,
    Token,
)
from fastdraft_core.events.designing import (
    DesignFinished,
    DesignProgress,
    DesignShape,
    DesignStarted,
    Estimate,
    ShapeMeasured,
    ShapeTrained,
)
from fastdraft_core.events.engine import (
    BlockCost,
    Compared,
    Failed,
    ModelCard,
    NearTie,
    PairLoaded,
    PeakBandwidth,
    cache_bound,
)
from fastdraft_core.events.jobs import JobEnded, JobStarted, RecipeChanged
from fastdraft_core.events.recording import Machine, RecordingHeader
from fastdraft_core.events.sweeping import (
    CostsMeasured,
    PointMeasured,
    PointPredicted,
    RepeatDropped,
    RunTotals,
    SweepFinished,
    SweepPoint,
    SweepProgress,
    SweepStarted,
    SweepVerdict,
    TaskCard,
    Turn,
    TurnMeasured,
)
from fastdraft_core.events.training import (
    Checkpointed,
    Evaluated,
    Glanced,
    Mixed,
    Planned,
    PlannedStage,
    Previewed,
    Progress,
    Sampled,
    Scored,
    StageAcceptance,
    StageFinished,
    StageStarted,
    Step,
    Synthesized,
    Tokenized,
)

__all__ = [
    "Block",
    "BlockCost",
    "Cancel",
    "Candidate",
    "Check",
    "CheckStatus",
    "Checkpointed",
    "Command",
    "Compared",
    "CostsMeasured",
    "DesignFinished",
    "DesignProgress",
    "DesignShape",
    "DesignStarted",
    "Detail",
    "Estimate",
    "Evaluated",
    "Event",
    "Exchange",
    "Failed",
    "FirstToken",
    "Glanced",
    "GreedyChecked",
    "JobEnded",
    "JobStarted",
    "LawChecked",
    "Load",
    "Machine",
    "Message",
    "Mixed",
    "ModelCard",
    "NearTie",
    "Opinion",
    "PairLoaded",
    "Parting",
    "PeakBandwidth",
    "Planned",
    "PlannedStage",
    "PointMeasured",
    "PointPredicted",
    "Previewed",
    "Progress",
    "Quit",
    "RecipeChanged",
    "RecordingHeader",
    "RepeatDropped",
    "Run",
    "RunFinished",
    "RunMetrics",
    "RunStarted",
    "RunTotals",
    "RuntimeChecked",
    "Sampled",
    "Scored",
    "ShapeMeasured",
    "ShapeTrained",
    "StageAcceptance",
    "StageFinished",
    "StageStarted",
    "Step",
    "SweepFinished",
    "SweepPoint",
    "SweepProgress",
    "SweepStarted",
    "SweepVerdict",
    "Synthesized",
    "TaskCard",
    "Token",
    "Tokenized",
    "Turn",
    "TurnMeasured",
    "Verified",
    "cache_bound",
    "decode_command",
    "decode_message",
    "encode",
]

Message = (
    RunStarted
    | FirstToken
    | Block
    | RunFinished
    | PairLoaded
    | PeakBandwidth
    | Compared
    | Failed
    | Progress
    | Machine
    | RecordingHeader
    | StageStarted
    | Step
    | Evaluated
    | Checkpointed
    | StageFinished
    | Synthesized
    | Sampled
    | Scored
    | Tokenized
    | Mixed
    | StageAcceptance
    | Planned
    | Previewed
    | Glanced
    | JobStarted
    | JobEnded
    | RecipeChanged
    | SweepStarted
    | SweepProgress
    | RepeatDropped
    | TurnMeasured
    | CostsMeasured
    | PointPredicted
    | PointMeasured
    | SweepVerdict
    | SweepFinished
    | DesignStarted
    | DesignProgress
    | ShapeMeasured
    | ShapeTrained
    | DesignFinished
    | Check
    | RuntimeChecked
    | GreedyChecked
    | LawChecked
    | Verified
)
Command = Load | Run | Cancel | Quit

_Decoded = TypeVar("_Decoded")

_encoder = msgspec.json.Encoder()
_messages = msgspec.json.Decoder(Message)
_commands = msgspec.json.Decoder(Command)


def encode(event: Event) -> bytes:
    """One line of JSON, newline included."""
    return _encoder.encode(event) + b"\n"


def decode_message(line: bytes) -> Message:
    """The event of one line; raises ``msgspec.MsgspecError`` for anything else."""
    return _decoded(_messages, line)


def decode_command(line: bytes) -> Command:
    """The command of one line; raises ``msgspec.MsgspecError`` for anything else."""
    return _decoded(_commands, line)


def _decoded(decoder: msgspec.json.Decoder[_Decoded], line: bytes) -> _Decoded:
    try:
        return decoder.decode(line)
    except UnicodeDecodeError as error:
        # The one thing that msgspec has no error of its own for.
        raise msgspec.DecodeError(str(error)) from error
