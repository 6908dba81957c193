"""Folder of the protobuf package `suanli`; not the Python package of that name."""
