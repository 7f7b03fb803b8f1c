"""Commands of the farm: `up` and its kin, and what an operator does to drives, workers and sources.

`seederfarm.cli` names them in its table and imports none of them before it runs. Those that look into the
registry import Django inside of their functions, after `setup.open_farm`.
"""
