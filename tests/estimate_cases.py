"""Rates, spans and counted work for tests of the estimate."""

import math

from vidmem.config import complete_config
from vidmem.planning.estimate import feature_work, search_work
from vidmem.planning.rates import Rate
from vidmem.planning.workload import Span, count_workload

UNKNOWN = Span(0, math.inf)


def changed(config, schema, **keys):
    return complete_config(config | keys, schema)


def counted_work(config):
    """All work that is no network evaluation."""
    work = count_workload(config)
    return feature_work(config, work) + search_work(config, work)


RATES = [
    Rate("describe_frames", "sscd-288", "frame", 0.5, 2.0, "here"),
    Rate("./net", "6x32x16", "evaluation", 0.1, 9.0, "here", "generate_clips"),
    Rate("torch", "", "job", 9.0, 0.0, "here"),
    Rate("other", "", "job", 3.0, 0.0, "here"),
]
