"""The configuration: what can be set, and how it is read."""

from modabatchd.config.listening import address, listener, refuse_open_listener
from modabatchd.config.loading import load
from modabatchd.config.settings import Settings

__all__ = ["Settings", "address", "listener", "load", "refuse_open_listener"]
