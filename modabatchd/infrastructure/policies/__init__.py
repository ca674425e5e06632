"""Reading what an owner has written down."""

from modabatchd.infrastructure.policies.page import Mistake
from modabatchd.infrastructure.policies.reading import Reading, examine, load_policy, load_text, read_policy
from modabatchd.infrastructure.policies.remarks import Remark

__all__ = ["Mistake", "Reading", "Remark", "examine", "load_policy", "load_text", "read_policy"]
