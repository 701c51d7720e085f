"""Pictures: reading and writing files, and the tokenizer `image.titok`."""
