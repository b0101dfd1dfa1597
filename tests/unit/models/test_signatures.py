"""Calls of pipeline classes are read off their source."""

from __future__ import annotations

from inspect import signature

import pytest

from published_pipelines import CLASSES
from vidmem.models import loading
from vidmem.models.signatures import EMBEDDED, call_of, told_rate


@pytest.mark.parametrize("name", [*CLASSES, *EMBEDDED, "LaViePipeline", "RaMViDPipeline", "UnconditionalVideoPipeline"])
def test_calls_are_read_off_the_source_as_python_reads_them(name):
    kind, constant = loading.pipeline_class(name), (int, float, str, bool, type(None))
    expected = dict(signature(kind.__call__).parameters)
    del expected["self"]
    assert list(call_of(name)) == [key for key, value in expected.items() if value.kind is not value.VAR_KEYWORD]
    for key, value in call_of(name).items():
        default = None if expected[key].default is expected[key].empty else expected[key].default
        assert value == (default if type(default) in constant else None), key
    assert told_rate(name) == bool({"fps", "frame_rate", "target_fps"} & set(expected))


def test_calls_of_unknown_classes_are_unknown():
    assert call_of("NoSuchPipeline") is None
    assert told_rate("NoSuchPipeline") is None
