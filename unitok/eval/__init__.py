"""Evaluation: tasks and their runner, held-out losses beside honest baselines, the report of a run.

Import the module that you need: `unitok.eval.task`, `runner`, `heldout`, `baselines`, `report`.
"""
