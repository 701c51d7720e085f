"""Training: DeepSpeed behind one file, a loss exact in tokens, runs that resume to the bit."""
