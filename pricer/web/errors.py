"""What only a server refuses."""

from __future__ import annotations

from pricer.errors import PricerError


class TooLargeError(PricerError, ValueError):
    """More is asked for than one answer may hold, or take."""


class NotAcceptableError(PricerError, ValueError):
    """The answer cannot be had in the form that is asked for."""


class MediaTypeError(PricerError, ValueError):
    """What was sent is not said to be JSON."""


class BusyError(PricerError):
    """Nobody can do this now; later somebody can."""
