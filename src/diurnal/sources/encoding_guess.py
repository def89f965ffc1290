"""Likely encoding of text that is not UTF-8, for messages; no file is decoded by it."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_USUAL = ("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "cp932", "gb18030", "big5", "euc_kr")

_WESTERN = frozenset(
    [
        *range(0xC0, 0x100),  # letters, with the signs of multiplication and division among them
        *map(ord, "\x8c\x9c\x80\xa0\xa1\xa3\xa7\xa9\xaa\xab\xae\xb0\xb1\xb2\xb3\xb5\xb7\xba\xbb\xbc\xbd\xbe\xbf"),
        *range(0x82, 0x98),  # quotes, dashes and dots
    ]
) - {0xD0, 0xDD, 0xDE, 0xF0, 0xFD, 0xFE}  # letters of Icelandic; the same bytes are letters of Turkish in cp1254
"""Bytes of the letters and signs of western European languages in cp1252."""

_WORD = re.compile(r"\w+")


def guess_encoding(text: bytes) -> str | None:
    r"""Return the most likely encoding of a text among the usual ones, or None.

    Examples
    --------
    >>> guess_encoding("Straße;Größe\nMüller;3\n".encode("latin-1")), guess_encoding("a,b\n1,2\n".encode("utf-16"))
    ('cp1252', 'utf-16')
    >>> guess_encoding(bytes(range(128, 256))) is None
    True
    """
    sample = text[:65_536]
    marked = next((name for bom, name in _BOMS if sample.startswith(bom)), None)
    if marked or b"\0" in sample:
        return marked or _guess_utf16(sample)
    if _is_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_USUAL)).best()
    return best.encoding if best is not None and best.encoding in _USUAL else None


def _guess_utf16(sample: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark by the zero bytes of ASCII characters."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) <= len(sample) // 4:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _is_western(sample: bytes) -> bool:
    """Return whether the text is of a western European language: most of its letters are ASCII."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    strange = [byte for byte in sample if byte > 0x7F]
    if not strange or sum(byte in _WESTERN for byte in strange) < 0.98 * len(strange):
        return False
    tokens = [word for word in _WORD.findall(text) if not word.isascii()]
    n_letters = sum(map(len, tokens))
    return sum(not letter.isascii() for word in tokens for letter in word) <= 0.5 * n_letters
