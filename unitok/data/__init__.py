"""Data: sources -> `tokenize` -> token stores -> plan (mixture, shuffle, packing) -> rows -> loader.

Every step is a function of its inputs alone: the same files, vocabulary and seed give the same rows in the
same order, at any number of processes and workers.
"""
