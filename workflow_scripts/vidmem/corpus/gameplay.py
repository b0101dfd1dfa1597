"""Gameplay recorded from the Arcade Learning Environment: real, deterministic footage that pip installs.

`repeat_action_probability` is 0 and actions come from a stream seeded by the game's name, so that every machine
records the same frames.
"""

from __future__ import annotations

import numpy as np

from ..errors import ClipError, VidmemError
from ..seeding import random_stream

UNPLAYABLE = frozenset({"combat", "joust", "warlords", "maze_craze"})  # two-player ROMs: they abort the process
FRAMES_PER_SECOND = 60.0
WARM_UP = 90  # emulator frames before recording: title screens
RECORDED = 420
ACTION_HOLD = 8  # emulator frames an action is kept: single-frame actions only tremble


def list_games() -> list[str]:
    """Names of the single-player games of the installed ale-py, sorted."""
    from ale_py import roms

    return sorted(set(roms.get_all_rom_ids()) - UNPLAYABLE)


def record_game(game: str, frames: int, stride: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """Play random actions and return the most moving window.

    The window is the one whose *median* frame-to-frame change is largest, so that a flash or a cut does not
    win against steady motion.

    Args:
        game: ROM name, e.g. 'ms_pacman'.
        frames: frames wanted.
        stride: emulator frames (1/60 s) between them.
        seed: changes the actions.

    Returns:
        uint8 [frames, 210, 160, 3] RGB (height depends on the game), and its frames per second.

    Raises:
        ClipError: the game cannot be played alone, or is not among the ROMs.
        VidmemError: the window is longer than the recording.
    """
    span = (frames - 1) * stride + 1
    if span > RECORDED:
        raise VidmemError(f"at most {RECORDED} emulator frames", span, "gameplay window", "lower frames or stride")
    if game in UNPLAYABLE:
        raise ClipError("skipped", f"{game} needs two players and aborts the emulator")
    screens = _play(game, seed)
    changes = np.abs(np.diff(screens[::stride].mean(axis=3), axis=0)).mean(axis=(1, 2))
    medians = [np.median(changes[i : i + frames - 1]) for i in range(len(changes) - frames + 2)]
    first = int(np.argmax(medians)) * stride
    return screens[first : first + span : stride], FRAMES_PER_SECOND / stride


def _play(game: str, seed: int) -> np.ndarray:
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.setInt("random_seed", seed)
    try:
        emulator.loadROM(roms.get_rom_path(game))
    except Exception as error:  # ale-py raises bare RuntimeErrors and its own types by version
        raise ClipError("missing", f"no ROM for game {game!r}: {error}") from error
    actions = emulator.getMinimalActionSet()
    stream = random_stream("gameplay", game, seed)
    screens = []
    for step in range(WARM_UP + RECORDED):
        if step % ACTION_HOLD == 0:
            action = actions[stream.integers(len(actions))]
        if emulator.game_over():
            emulator.reset_game()
        emulator.act(action)
        if step >= WARM_UP:
            screens.append(emulator.getScreenRGB())
    return np.stack(screens)
