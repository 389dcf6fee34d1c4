"""pcont: generic process containers over real Linux cgroups, and over a model of them."""

__version__ = "0.2.0"
