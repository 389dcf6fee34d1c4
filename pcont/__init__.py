"""pcont: generic process containers over real Linux cgroups, and over a model of them."""

__version__ = "0.1.0"
