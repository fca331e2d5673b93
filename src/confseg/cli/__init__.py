"""The command line of the package; ``confseg --help`` lists its commands."""

from .main import main

__all__ = ["main"]
