"""What can go wrong, each with the builtin a caller would expect to catch."""


class PricerError(Exception):
    """Base of every error this package raises on purpose; its text is one line."""


class SpecError(PricerError, ValueError):
    """An input cannot be what was meant: names the place, the rule and the value got."""


class StoreError(PricerError, OSError):
    """A store cannot be opened, read or written."""


class AwsError(StoreError):
    """AWS cannot be used: credentials, region, network, permission, or what a service answered."""


class RunNotFoundError(PricerError, LookupError):
    """No run, or more than one, answers to a name."""


class MissingDependencyError(PricerError, ImportError):
    """A format needs an extra package; the text says which and how to install it."""
