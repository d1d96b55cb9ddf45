"""Mistakes on the command line, and the sentences that answer them."""


class UsageError(Exception):
    """A mistake on the command line; its message is shown, a traceback never."""
