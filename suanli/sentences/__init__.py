"""Finished sentences said in another language: those of the command line, and those of the server."""

from suanli.sentences.server_zh import ZH_SERVER
from suanli.sentences.translation import Translation, pattern_of, recognisable

__all__ = ["ZH_SERVER", "Translation", "pattern_of", "recognisable"]
