"""Generators of image codes that are not the shared language model: masked, autoregressive, binary."""
