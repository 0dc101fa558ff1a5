"""What is nobody's business does not stand in a record: passwords, tokens, keys.

A text with places (``${TOKEN}``, ``{feed.token}``, ``@FILE``) says nothing by itself and stays as
it is, so that the command on the record still makes the run again; what was written out is masked.
"""

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.options import ConnectOptions
from loadtests.plan import Plan
from loadtests.template import has_places

MASK: Final = "***"
_SECRET_NAME: Final = re.compile(
    r"auth|token|secret|passw|passphrase|credential|session|cookie|signature|jwt|(^|[-_])(key|sig|sid)$",
    re.IGNORECASE,
)
_QUERY_PART: Final = re.compile(r"([^&=]+)=([^&]*)")


def masked(plan: Plan) -> Plan:
    """Give the plan as it may be told to anybody."""
    return replace(plan, url=masked_url(plan.url), options=_masked_options(plan.options))


def masked_url(url: str) -> str:
    """Give an address without a password and without what its query keeps secret."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if at and colon:
        parts = parts._replace(netloc=f"{name}:{_masked(password)}@{place}")
    query = _QUERY_PART.sub(_masked_query_part, parts.query)
    return urlunsplit(parts._replace(query=query)) if query != parts.query or colon else url


def masked_header(header: str) -> str:
    """Give a header, written ``Name: value``, without the value if its name says that is secret."""
    name, _, _ = header.partition(":")
    return _masked_pair(header, ": ") if _SECRET_NAME.search(name.strip()) else header


def _masked_query_part(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={_masked(value) if _SECRET_NAME.search(name) else value}"


def _masked_options(options: ConnectOptions) -> ConnectOptions:
    return replace(
        options,
        headers=tuple(masked_header(header) for header in options.headers),
        cookies=tuple(_masked_pair(cookie, "=") for cookie in options.cookies),
        bearer=None if options.bearer is None else _masked(options.bearer),
        proxy=None if options.proxy is None else masked_url(options.proxy),
    )


def _masked_pair(pair: str, separator: str) -> str:
    name, _, value = pair.partition(separator.strip())
    return f"{name}{separator}{_masked(value.strip())}"


def _masked(value: str) -> str:
    return value if has_places(value) else MASK
