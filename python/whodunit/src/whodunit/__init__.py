"""Who changed or wiped the database, how sure that is, and everything back."""

__version__ = "0.1.0"


class WhodunitError(Exception):
    """What was asked for cannot be answered or done; the message says why and what can."""
