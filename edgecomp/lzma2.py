"""Raw LZMA2, decoded within bounds that the file does not choose."""

from __future__ import annotations

import lzma

from edgecomp.errors import CorruptDataError


def expand(data: bytes | memoryview, *, limit: int, dict_size: int, what: str) -> bytes:
    """The content of a raw LZMA2 stream that fills ``data`` to its end mark.

    Args:
        data: the stream, nothing before or after it.
        limit: the most bytes that it may hold; no more than one byte beyond is ever made.
        dict_size: of the decoder, in bytes; never taken from a file.
        what: the subject of messages ("section 0x81").

    Raises:
        CorruptDataError: it is damaged, cut short, followed by other bytes, or too long.
    """
    filters: list[dict[str, int]] = [{"id": lzma.FILTER_LZMA2, "dict_size": dict_size}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        # One byte more than allowed, so that a longer stream shows and one of exactly the limit
        # reaches its end mark.
        content = decoder.decompress(data, max_length=limit + 1)
    except lzma.LZMAError as error:
        raise CorruptDataError(f"{what} is damaged ({error})") from error
    if len(content) > limit or not decoder.eof or decoder.unused_data:
        raise CorruptDataError(f"{what} has the wrong length: cut short or too long")
    return content
