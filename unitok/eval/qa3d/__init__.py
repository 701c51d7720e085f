"""Question answering about scenes in 3D: files of ScanQA, SQA3D, 3D-LLM and 3D MM-Vet, their measures, blind baselines.

Public names are in the modules: `formats` and `predictions` read, `measures` scores, `blind` answers without
seeing, `report` puts the figures together, `page` shows them and `ask` has a run answer.
"""
