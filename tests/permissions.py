"""Rights of an ordinary user, also where root runs the tests: no permission stops root."""

import os
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def ordinary_user():
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
