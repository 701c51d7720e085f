"""Parts that the benches share."""
