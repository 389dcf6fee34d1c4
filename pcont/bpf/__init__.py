"""BPF programs that pcont loads into the kernel, to count and limit what it does not."""
