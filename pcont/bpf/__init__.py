"""Programs of pcont's in the kernel, for what it lacks."""
