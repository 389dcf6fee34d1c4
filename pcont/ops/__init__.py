"""What pcont can do, each operation over any backend; no printing, no exiting."""
