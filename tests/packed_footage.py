"""Pictures to pack into larger files, and a reader of what was listed."""

import io

import numpy as np
from PIL import Image

from vidmem.corpus.reading import read_item


def source_of(kind, path, **keys):
    return {"name": "s", "kind": kind, "path": str(path), "split": "member", **keys}


def png(number):
    content = io.BytesIO()
    Image.fromarray(pixels(number)).save(content, "png")
    return content.getvalue()


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)


def read(item):
    return read_item(item, 4, (16, 16), 10.0, "stretch")
