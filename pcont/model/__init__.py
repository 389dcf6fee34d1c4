"""The parts of the model, an in-memory simulation of a kernel's cgroups."""
