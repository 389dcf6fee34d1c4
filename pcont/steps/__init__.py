"""The changes that operations are made of."""
