"""Rooms composed of furniture models and questions about them; see tools/make_room_qa.py."""
