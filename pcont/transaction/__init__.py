"""Steps, what undoes them, and the journal."""
