"""Answers of the hot routes, written once."""

from fastapi import Response

Headers = tuple[tuple[bytes, bytes], ...]


class Written(Response):
    """JSON that is written already. A model would be turned into plain values, checked again and written.

    The route says `response_model`, so that the OpenAPI document still knows. `headers`: names in lower case.
    """

    def __init__(self, content: bytes, status: int = 200, headers: Headers = ()) -> None:
        self.status_code = status
        self.body = content
        self.background = None
        length = (b"content-length", b"%d" % len(content))
        self.raw_headers = [length, (b"content-type", b"application/json"), *headers]
