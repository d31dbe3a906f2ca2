"""Known cheats and sanity cases, run through every metric."""

from __future__ import annotations

from pb_eval.audit.cases import CASES, Case, get_case
from pb_eval.audit.runner import AUDIT_COLUMNS, audit, undeclared
from pb_eval.audit.verdicts import VERDICTS, verdict_words

__all__ = ["AUDIT_COLUMNS", "CASES", "VERDICTS", "Case", "audit", "get_case", "undeclared", "verdict_words"]
