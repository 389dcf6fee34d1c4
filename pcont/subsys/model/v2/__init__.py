"""What the model does for each controller of cgroup v2: one module each, with its BEHAVIOUR."""
