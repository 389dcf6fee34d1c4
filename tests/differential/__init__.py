"""Random walks: the same steps on the model and on the kernel, everything compared after each.

`steps.py` draws steps for cgroup v1, and `unified_steps.py` for cgroup v2, commands of pcont among
them. `sides.py` does them in a kernel and in the model, `walk.py` compares them and, where the two
differ, looks for the fewest steps that show it. The kernel is right then. `tally.py` counts what
was done and refused, `errno_table.py` has the refusals of cgroup v2 that are to be met, and
`unsure.py` the steps that are left out.
The walk is our own, not hypothesis's: a step is data, drawn from the seed and what the model holds,
so that a seed repeats, any steps can be left out, and a step costs little more than the looking.
"""
