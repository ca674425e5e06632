"""Makes C{twistd modabatch} known to Twisted."""

from twisted.application.service import ServiceMaker

modabatch = ServiceMaker("modabatch", "modabatchd.tap", "A batch queue over HTTP in front of HTCondor.", "modabatch")
