"""The classes that tables of controllers consist of: rows for control files, and rules."""
