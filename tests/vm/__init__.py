"""Boots guests in QEMU and runs the kernel part of the suite inside."""
