"""What can go wrong with clouds.  Every provider's errors become one of these."""

from __future__ import annotations

from modabatchd.errors import ModabatchError


class CloudError(ModabatchError):
    """The base of them."""

    code = "cloud"


class CloudAway(CloudError):
    """The provider did not answer, or not in time: what was asked may or may not have happened."""

    code = "cloud-away"


class Throttled(CloudError):
    """The provider wants to be asked less often.  @ivar retry_after: seconds."""

    code = "cloud-throttled"

    def __init__(self, cause: str, cure: str, retry_after: float = 0.0) -> None:
        super().__init__(cause, cure)
        self.retry_after = retry_after


class NoCapacity(CloudError):
    """The provider has no machine of this size now."""

    code = "cloud-no-capacity"


class QuotaReached(CloudError):
    """The account may not have more."""

    code = "cloud-quota"


class CloudRefused(CloudError):
    """The provider answered no, for good: wrong credentials, an unknown size or image."""

    code = "cloud-refused"
