"""Gameplay recorded from the Arcade Learning Environment: real, deterministic footage that pip installs.

Every machine records the same frames: `repeat_action_probability` is 0, and the game's name seeds the random actions.
"""

from __future__ import annotations

import numpy as np

from ..base.seeding import random_stream
from ..errors import ClipError, VidmemError

UNPLAYABLE = frozenset({"combat", "joust", "warlords", "maze_craze"})  # games for two players: their ROMs abort the process
FRAMES_PER_SECOND = 60.0
WARM_UP = 90  # emulator frames before recording: title screens
RECORDED = 420  # emulator frames that are recorded, 7 s
ACTION_HOLD = 8  # emulator frames for which an action is held; if it changes at every frame, the player only trembles


def list_games() -> list[str]:
    """Names of the single-player games of the installed ale-py, sorted."""
    from ale_py import roms

    return sorted(set(roms.get_all_rom_ids()) - UNPLAYABLE)


def record_game(game: str, frames: int, stride: int, seed: int = 0) -> tuple[np.ndarray, float]:
    """Play a game with random actions and return the window with the most motion.

    The chosen window has the largest *median* of frame-to-frame changes. Steady motion thus wins against a flash or a cut.

    Args:
        game: ROM name, e.g. 'ms_pacman'.
        frames: number of frames of the window.
        stride: emulator frames (1/60 s each) from one frame of the window to the next.
        seed: further seed of the actions.

    Returns:
        uint8 [frames, 210, 160, 3], RGB (the height depends on the game), and the window's frames per second.

    Raises:
        ClipError: the game needs two players, or is not among the ROMs.
        VidmemError: the window would be longer than the recording.
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
    except Exception as error:  # bare RuntimeErrors or types of ale-py's own, depending on its version
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
