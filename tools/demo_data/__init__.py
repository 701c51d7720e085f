"""The parts of tools/build_demo_data.py: one file per kind of data."""
