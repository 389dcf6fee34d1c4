"""Steps: the changes that an operation is made of, each with its dry run, its undo records and the
message for a refusal.
"""
