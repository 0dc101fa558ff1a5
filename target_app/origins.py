"""What a browser sends as ``Origin``, and what people write instead."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

WHOLE: Final = {"null", "file://"}
"""Origins that have no host."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
FORM: Final = "it has to be scheme://host or scheme://host:port, as in https://chat.example"


def check(text: str) -> None:
    """Raise :class:`ValueError`, naming the right form, if no browser sends ``text``.

    An Origin is scheme, host and, unless it is the scheme's default, port, in lower case (RFC 6454
    §6.1). It is compared as a whole, so any other spelling would allow nobody.
    """
    if text == "*":
        raise ValueError("to allow all, do not set it; no browser sends *")
    if "*" in text:
        raise ValueError("a * stands for nothing here: name each Origin")
    if text not in WHOLE and text != (right := as_sent(text)):
        raise ValueError(f"browsers send {right}")


def as_sent(text: str) -> str:
    """Return the Origin that a browser sends for a page at ``text``.

    Raise :class:`ValueError` if there is none, or if its host is not ASCII.
    """
    if text.lower() in WHOLE:
        return text.lower()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text.lstrip('/')}")
        name, port = parts.hostname or "", parts.port
        host = _host(name) if name.isascii() else None
    except ValueError:
        raise ValueError(FORM) from None
    if host is None:
        # Python knows IDNA 2003 only, which turns straße.de into strasse.de. Browsers do not.
        raise ValueError("write its host as browsers send it (xn--…)")
    if port == 0:
        raise ValueError("no page comes from port 0")
    is_shown = port is not None and port != DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}:{port}" if is_shown else f"{parts.scheme}://{host}"


def _host(name: str) -> str:
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]"
    # This checks the length of each label. Its UnicodeError is a ValueError.
    name.encode("idna")
    if not re.fullmatch(r"[a-z0-9._-]+", name):
        raise ValueError(name)
    return name
