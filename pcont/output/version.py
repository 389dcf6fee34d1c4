"""The version of pcont, apart from the package: the command line does not import the library."""

__version__ = "0.2.0"
