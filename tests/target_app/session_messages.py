"""What a client of a session says."""

from __future__ import annotations

import json


def said(kind, **payload):
    return json.dumps({"type": kind, "payload": payload})


def question(text):
    return said("STUDENT_INTERRUPTION", questionText=text)
