"""The parts of the kernel in memory."""
