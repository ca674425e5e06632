"""Reading what an owner has written down."""

from modabatchd.infrastructure.policies.page import Mistake
from modabatchd.infrastructure.policies.reading import Reading, examine, load_policy, read_policy
from modabatchd.infrastructure.policies.sense import warnings

__all__ = ["Mistake", "Reading", "examine", "load_policy", "read_policy", "warnings"]
