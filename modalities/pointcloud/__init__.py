"""Point clouds as codes: readers and writers, sampling, Chamfer distance, pictures, a tokenizer."""
