"""Hashes, shards and safe names that identify a clip or a prompt by its text. Standard library only."""

from __future__ import annotations

import hashlib
import re

from ..errors import VidmemError

WINDOW = re.compile(r"-w\d+(?=(-repeat\d+)?$)")
"""End of the clip id of every window of a video but the first."""


def hash_text(*parts: object) -> str:
    """SHA-256 of values joined by a unit separator, as hexadecimal digits."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


def shard_of(identity: str, shards: int) -> int:
    """Shard of a clip or prompt: the hash of its identity, modulo the number of shards.

    A new clip therefore never moves another clip to another shard.

    >>> shard_of("gameplay-ms-pacman", 4) == shard_of("gameplay-ms-pacman", 4)
    True
    """
    if shards < 1:
        raise VidmemError("at least one shard", shards, "shard_of")
    return int(hash_text(identity)[:12], 16) % shards


def video_of(clip_id: str) -> str:
    """Clip id of the first window of a clip's video.

    >>> video_of("webvid-1000-0a1b2c3d-w3"), video_of("webvid-1000-0a1b2c3d")
    ('webvid-1000-0a1b2c3d', 'webvid-1000-0a1b2c3d')
    """
    return WINDOW.sub("", clip_id)


def slug(text: str, limit: int = 40) -> str:
    """Safe, unique name for any text: its words in lower case, and a digest if the words differ from the text.

    >>> slug("ms-pacman")
    'ms-pacman'
    >>> slug("../../etc/passwd")
    'etc-passwd-3754d6cb'
    """
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-")
    return words if words == text else f"{words}-{hash_text(text)[:8]}".lstrip("-")
