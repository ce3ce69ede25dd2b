"""The composition root: command line, demo and Python client of the two services."""

from importlib.metadata import version

__version__ = version("benren")
