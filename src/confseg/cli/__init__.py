"""The command line: ``confseg plan``, ``calibrate``, ``predict``, ``evaluate``."""

from .main import main

__all__ = ["main"]
