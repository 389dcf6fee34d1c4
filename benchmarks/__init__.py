"""What pcont costs, and what it loses, beside other tools and bare loops.

`python -m benchmarks` writes docs/benchmarks.md. The modules `storm`, `daemons`, `bomb`, `binding`
and `files` are programs of their own, which put pcont under load: RESULTS.md has their results.
`measure` is how all of them measure.
"""
