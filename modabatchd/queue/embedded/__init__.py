"""IQueue on this machine alone: the default, needs nothing."""
