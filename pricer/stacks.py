"""What is deployed on AWS is called: the stack that is meant where nobody names one."""

from __future__ import annotations

STACK = "Pricer"


def flag(stack: str) -> str:
    """Return what has to be said after a command so that it means `stack`; mostly nothing."""
    return "" if stack == STACK else f" --stack {stack}"
