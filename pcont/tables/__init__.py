"""What a table of a subsystem is made of: rows and rules."""
