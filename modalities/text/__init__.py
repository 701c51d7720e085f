"""Text: raw UTF-8 bytes without dependencies, and sentencepiece pieces."""
