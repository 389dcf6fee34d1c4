"""Whether the tests would notice if a rule of the model were another: changes, drawn at random.

`python -m tests.mutation --count 200 --seed 1` makes so many, one at a time, and runs the contract
tests on the model with each until one fails. A change that no test notices is a rule that none of
them tells.
"""
