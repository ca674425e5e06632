"""A batch queue over HTTP in front of HTCondor, and a cluster that grows and shrinks with it."""

__version__ = "0.1.0"
