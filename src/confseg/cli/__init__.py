"""The command line: ``confseg plan``, ``calibrate``, ``predict``, ``evaluate``, ``score``."""

from .main import main

__all__ = ["main"]
