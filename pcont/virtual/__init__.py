"""Control files that pcont provides because the kernel lacks them."""
