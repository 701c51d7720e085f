"""Parts that several tokenizers share: blocks, quantizers, usage figures, weight files, training."""
