"""Preflight: what an audit needs, what of it is on this machine, and how to get the rest, before anything runs.

Nothing is loaded and no network is asked: what a hub repository holds is not known until it is fetched.
"""

from .needs import Need
from .page import audit_needs, lacking, preflight_record, preflight_text, verdict_line

__all__ = ["Need", "audit_needs", "lacking", "preflight_record", "preflight_text", "verdict_line"]
