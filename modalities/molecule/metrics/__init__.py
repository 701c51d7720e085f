"""Measures for molecule -> text and text -> molecule, in the protocols that published tables use."""
