"""Folder of the protobuf package `suanli.fleet`."""
