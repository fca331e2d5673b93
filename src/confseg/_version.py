"""The version of the installed package, stated once, in pyproject.toml."""

from importlib.metadata import version

__version__ = version("confseg")
