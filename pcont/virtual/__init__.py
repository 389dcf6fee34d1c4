"""Control files that pcont provides itself, as the kernel lacks them."""
