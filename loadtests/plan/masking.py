"""Mask secrets in a record: passwords, tokens, keys.

Placeholders (``${TOKEN}``, ``{feed.token}``, ``{n}``) and ``@FILE`` reveal nothing by themselves
and are kept, so that the command in the record still repeats the run; literal values are masked,
except for a few letters between placeholders, and the name of a scheme.
"""

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.plan.connect_options import ConnectOptions, is_secret_name
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource
from loadtests.plan.template import is_file, split_places

MASK: Final = "***"
_SCHEME: Final = re.compile(r"(?:basic|bearer|digest|token|apikey)\s+", re.IGNORECASE)
_MOST_LETTERS_SHOWN: Final = 3
_QUERY_PART: Final = re.compile(r"([^&=]+)=([^&]*)")


def masked(plan: Plan) -> Plan:
    """Return the plan with its secrets masked."""
    return replace(
        plan,
        url=masked_url(plan.url),
        options=_masked_options(plan.options),
        users=tuple(replace(user, plan=masked(user.plan)) for user in plan.users),
    )


def masked_source(source: TargetSource) -> TargetSource:
    """Return the source of a server with its secrets masked."""
    masked_values = {
        name: _masked(value) if is_secret_name(name) else value
        for name, value in source.environment.items()
    }
    return replace(source, environment=masked_values)


def masked_url(url: str) -> str:
    """Return an address with its password and the secrets of its query masked."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if at and colon:
        parts = parts._replace(netloc=f"{name}:{_masked(password)}@{place}")
    query = _QUERY_PART.sub(_masked_query_part, parts.query)
    return urlunsplit(parts._replace(query=query)) if query != parts.query or colon else url


def masked_header(header: str) -> str:
    """Return a header, written ``Name: value``, its value masked if the name marks it as secret."""
    name, _, _ = header.partition(":")
    return _masked_pair(header, ": ") if is_secret_name(name.strip()) else header


def _masked_query_part(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={_masked(value) if is_secret_name(name) else value}"


def _masked_options(options: ConnectOptions) -> ConnectOptions:
    return replace(
        options,
        headers=tuple(masked_header(header) for header in options.headers),
        cookies=tuple(_masked_pair(cookie, "=") for cookie in options.cookies),
        bearer=None if options.bearer is None else _masked_or_file(options.bearer),
        proxy=None if options.proxy is None else masked_url(options.proxy),
    )


def _masked_pair(pair: str, separator: str) -> str:
    name, _, value = pair.partition(separator.strip())
    return f"{name}{separator}{_masked_or_file(value.strip())}"


def _masked_or_file(value: str) -> str:
    return value if is_file(value) else _masked(value)


def _masked(value: str) -> str:
    scheme = found[0] if (found := _SCHEME.match(value)) else ""
    pieces = split_places(value.removeprefix(scheme))
    is_short = len(pieces) > 1
    return scheme + "".join(
        (text if is_short and len(text) <= _MOST_LETTERS_SHOWN else MASK) + place
        for text, place in pieces
    )
