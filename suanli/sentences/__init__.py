"""What people are told, in two languages: by the programs (`words.py`), and by the server."""

from suanli.sentences.details_zh import ZH_DETAILS
from suanli.sentences.server_zh import ZH_SENTENCES
from suanli.sentences.translation import Translation, pattern_of, recognisable
from suanli.sentences.waiting_zh import ZH_WAITING
from suanli.sentences.wants_zh import ZH_WANTS

ZH_SERVER = {**ZH_SENTENCES, **ZH_DETAILS, **ZH_WAITING, **ZH_WANTS}

__all__ = ["ZH_SERVER", "Translation", "pattern_of", "recognisable"]
