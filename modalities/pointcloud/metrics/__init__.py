"""Measures of point tokenizers and of generated clouds: reconstruction, classes, sets of clouds, their page."""
