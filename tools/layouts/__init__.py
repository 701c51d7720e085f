"""Public layouts of multimodal data, as records; a part of tools/make_records.py."""
