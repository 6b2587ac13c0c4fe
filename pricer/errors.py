"""What can go wrong, each with the builtin a caller would expect to catch."""


class PricerError(Exception):
    """Base of every error this package raises on purpose; its text is one line."""


class SpecError(PricerError, ValueError):
    """An input cannot be what was meant: names the place, the rule and the value got."""


class StoreError(PricerError, OSError):
    """A store cannot be opened, read or written."""


class NotPricedError(StoreError):
    """Blocks that are asked for are not priced yet."""


class NoTimesError(StoreError):
    """A version that kept no times has priced the run."""


class PlanError(StoreError):
    """A run's plan cannot be read: it is missing, damaged or of another format."""


class AwsError(StoreError):
    """AWS cannot be used: credentials, region, network, permission, or what a service answered."""


class RunNotFoundError(PricerError, LookupError):
    """No run, or more than one, answers to a name."""


class KernelError(PricerError, RuntimeError):
    """The kernels that are there are not those that are needed, or one of them is missing."""


class MissingDependencyError(PricerError, ImportError):
    """A format needs an extra package; the text says which and how to install it."""


class DeployError(PricerError, RuntimeError):
    """Stacks cannot be made, changed or removed from here."""
