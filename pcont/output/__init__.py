"""How results look: JSON, columns, trees, error texts, and streams that never raise."""
