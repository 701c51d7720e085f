"""The decoder: a Qwen3-shaped transformer that knows ids and widths, and nothing of modalities."""
