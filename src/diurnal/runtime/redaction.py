"""Removal of secrets from texts that are stored or sent: passwords in URLs, and tokens in their queries."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):(?!\d+(?:[/\s]|$))[^\s]*@")
_TOKEN = re.compile(
    r"(?i)\b((?:[\w-]*[-_])?(?:password|passwd|pwd|secret|token|signature|sig|credential|api[-_]?key|access[-_]?key)"
    r"(?:[-_]?id)?)=([^\s&'\"<>]+)"
)


def redact_secrets(text: str) -> str:
    """Return a text with the passwords of its URLs, and the values of parameters such as ``token=``, as ``***``.

    After a colon that does not start a port, everything up to the last ``@`` may be a password.

    Examples
    --------
    >>> redact_secrets("cannot read https://ada:p@ss@db.example/x.csv?sig=abc&day=3")
    'cannot read https://ada:***@db.example/x.csv?sig=***&day=3'
    >>> redact_secrets("http://localhost:8080/a@b is not found")
    'http://localhost:8080/a@b is not found'
    """
    return _TOKEN.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", text))
