"""What point tokenizers are measured beside: the patch dVAE of Point-BERT. No modality, for centres stand beside its codes."""
