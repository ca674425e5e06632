"""The configuration: what can be set, and how it is read."""

from modabatchd.config.listening import listener, refuse_open_listener
from modabatchd.config.loading import load
from modabatchd.config.settings import Settings

__all__ = ["Settings", "listener", "load", "refuse_open_listener"]
