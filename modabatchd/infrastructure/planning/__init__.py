"""
What is to be done about the nodes, now: a pure decision.

C{plan(snapshot, policy, memory, now)} takes what was seen, what the owner wants and what was learned, and returns steps, each
with its reason, and what is to be remembered.  It has no clock, does no I/O and throws no dice.
"""

from modabatchd.infrastructure.planning.memory import Memory, decode_memory, encode_memory, reopened
from modabatchd.infrastructure.planning.plan import (
    DrainNode,
    Plan,
    ResumeNode,
    Served,
    StartNode,
    Step,
    StopCause,
    StopNode,
    Unsatisfiable,
    Wait,
    WaitKind,
    encode_plan,
)
from modabatchd.infrastructure.planning.planner import plan
from modabatchd.infrastructure.planning.snapshot import OtherNode, Outcome, OutcomeKind, SeenNode, Snapshot, seen

__all__ = [
    "DrainNode",
    "Memory",
    "OtherNode",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "ResumeNode",
    "SeenNode",
    "Served",
    "Snapshot",
    "StartNode",
    "Step",
    "StopCause",
    "StopNode",
    "Unsatisfiable",
    "Wait",
    "WaitKind",
    "decode_memory",
    "encode_memory",
    "encode_plan",
    "plan",
    "reopened",
    "seen",
]
