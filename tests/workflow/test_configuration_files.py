"""Files of a configuration that says a thing twice: nothing is planned, whatever was asked for."""

import json

import pytest

from workflow_helpers import SMOKE


@pytest.mark.parametrize(
    ("file", "text", "arguments", "told"),
    [
        ("more.yaml", "shards: 1\nseed: 0\nshards: 2\n", ("-n", *SMOKE, "more.yaml"), "shards in lines 1 and 3"),
        ("more.json", '{"run": "a",\n "run": "b"}', ("estimate", *SMOKE, "more.json"), "run in lines 1 and 2"),
        ("config.yaml", "\nmotion:\n  k: 2\n  k: 3\n", ("preflight",), "motion.k in lines 3 and 4"),
        ("profiles/default/profile.yaml", "retries: 1\nretries: 2\n", ("-n", *SMOKE), "retries in lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_stops_before_any_plan(project, run, file, text, arguments, told):
    folder = project()
    (folder / file).write_text(text)
    result = run(folder, "--cores", "1", *arguments, check=False)
    assert result.returncode != 0
    assert "The configuration does not hold.\nExpected each key once" in result.text
    assert f"Got {told}\n" in result.text
    assert f"/{file}" in result.text or f"Where: {file}" in result.text
    assert "Building DAG" not in result.text


def test_the_same_key_in_two_files_is_an_override(project, run):
    folder = project()
    (folder / "more.json").write_text(json.dumps({"run": "other"}))
    text = run(folder, "-n", "--cores", "1", "--quiet", "host", *SMOKE, "more.json").text
    assert "results/other/verdict.json" in text
