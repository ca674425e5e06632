"""The queue on a real HTCondor pool."""
