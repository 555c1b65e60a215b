"""The one exception that a user is meant to read."""


class BuildError(Exception):
    """Something that the builder refuses or cannot finish; its text names the next step."""
