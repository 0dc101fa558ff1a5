"""The names of environment variables: where they come from, and which are misspelt."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PREFIX: Final = "TARGET_"
LINK: Final = re.compile(
    r"TARGET_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
LINK_PORT: Final = re.compile(r"TARGET_(\w+_)?PORT")
LINK_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S+")


def is_service_link(name: str, value: str | None) -> bool:
    """Return whether Kubernetes has set this variable for a Service whose name begins with target.

    They are called ``TARGET_SERVICE_HOST``, ``TARGET_PORT_80_TCP_ADDR`` and so on; ``TARGET_PORT``,
    which is also one of ours, has an address (``tcp://10.0.0.1:80``) where ours has a number.
    """
    upper = name.upper()
    if LINK.fullmatch(upper):
        return True
    return bool(LINK_PORT.fullmatch(upper) and LINK_ADDRESS.fullmatch(value or ""))


def misspelt(names: Iterable[str], known: Collection[str], where: str) -> str | None:
    """Return a message about the first of ``names`` that is not in ``known``, None if all are.

    The comparison ignores case, as the reading of settings does.
    """
    for name in sorted(map(str.upper, names)):
        if name not in known:
            # Without the prefix, which alone would make all of them similar.
            settings = [setting.removeprefix(PREFIX) for setting in known]
            near = difflib.get_close_matches(name.removeprefix(PREFIX), settings, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "see --help for those there are"
            return f"{name} {where} is no setting; {hint}"
    return None
