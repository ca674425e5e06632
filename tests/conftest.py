"""What holds for all tests."""

from hypothesis import settings

# A slow example tells of a busy machine, not of a mistake.
settings.register_profile("modabatchd", deadline=None)
settings.load_profile("modabatchd")
