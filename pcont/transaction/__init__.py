"""Steps, the undo log, and the journal that makes a crash recoverable."""
