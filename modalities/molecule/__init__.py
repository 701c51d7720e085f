"""Molecules: SELFIES symbols over RDKit structures."""
