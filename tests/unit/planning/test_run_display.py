"""The display of a run: what is done, how long the rest takes, what is said on a terminal and without one."""

import io
import logging
import time

import pytest
from rich.console import Console
from rich.text import Text
from snakemake_interface_logger_plugins.common import LogEvent

from vidmem.planning.estimate import Cost
from vidmem.planning.run_display import LiveScreen, PlainScreen, RunDisplay, View, rough_time, screen_on
from vidmem.planning.run_estimate import job_seconds
from vidmem.planning.run_times import PRIOR_S, RunTimes, last_rate
from vidmem.planning.workload import Span

RATE = "2026-12-01 10:00:00,000 INFO describe: 12 of 40, 2.00 clip/s, 14 s left\n"


class Handler(logging.Handler):
    """Stands for Snakemake's own handler: lets everything but debug messages pass."""

    def __init__(self):
        super().__init__()
        self.addFilter(lambda record: record.levelno > logging.DEBUG)

    def format(self, record):
        return f"<{record.msg}>"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def record(event, message="", level=logging.INFO, **about):
    made = logging.LogRecord("snakemake", level, "", 1, message, (), None)
    made.__dict__.update(event=event, **about)
    return made


def job(number, rule, log="", **wildcards):
    about = {"jobid": number, "rule_name": rule, "wildcards": {"run": "mine", **wildcards}, "log": [log] if log else []}
    return record(LogEvent.JOB_INFO, **about)


@pytest.fixture
def shown():
    stream, clock = io.StringIO(), Clock()
    times = RunTimes({"describe": 4, "score": 1, "all": 1}, 2, clock.now)
    stages = {"describe": "features", "score": "score"}
    display = RunDisplay(Handler(), times, stages, lambda view: PlainScreen(view, stream), clock)
    return display, times, clock, stream


def test_time_left_begins_with_the_estimate_and_follows_the_pace():
    times = RunTimes({"describe": 4}, 2, 0.0, {"describe": 30.0})
    assert times.left(0.0) == pytest.approx(4 * 30 / 2)  # two lanes, nothing done
    slow = RunTimes({"describe": 4}, 1, 0.0, {"describe": 30.0})
    slow.done["describe"] = 2
    pace = (60 + PRIOR_S) / (240 + PRIOR_S)  # 60 estimated seconds took 240
    assert slow.left(240.0) == pytest.approx(60 / pace)
    assert slow.left(240.0) > 150


def test_a_running_job_counts_by_its_time_but_not_more_than_its_estimate(shown):
    display, times, clock, _ = shown
    times.seconds = {"describe": 10.0, "score": 2.0, "all": 0.0}
    display.emit(job(1, "describe"))
    before = times.left(clock.now)
    clock.now += 5
    assert times.left(clock.now) == pytest.approx((42 - 5) / ((5 + 2 * PRIOR_S) / (5 + PRIOR_S)))
    assert times.left(clock.now) < before
    clock.now += 500
    assert times.left(clock.now) == pytest.approx((42 - 10) / ((10 + 2 * PRIOR_S) / (505 + PRIOR_S)))


def test_nothing_is_promised_without_a_rate(shown):
    display, times, clock, _ = shown
    assert times.left(clock.now) is None
    assert display.head() == "0 of 6 jobs"
    costs = [
        Cost("describe", 4, 4, "", Span(10, 30), False, (), ()),
        Cost("score", 2, 1, "", Span(0, float("inf")), False, (), ()),
    ]
    assert job_seconds(costs) == {"describe": 5.0, "score": None}
    times.seconds = {"describe": 5.0, "score": float("inf")}
    assert times.left(clock.now) is None


@pytest.mark.parametrize(("seconds", "words"), [(0, "less than a minute"), (59, "less than a minute"), (61, "about 1 min"),
                                                (5000, "about 83 min"), (90_000, "about 25.0 h")])  # fmt: skip
def test_times_are_rough(seconds, words):
    assert rough_time(seconds) == words


def test_every_finished_job_is_a_line_and_snakemakes_repetitions_are_not(shown):
    display, _, clock, stream = shown
    display.emit(record(None, "Select jobs to execute..."))
    display.emit(record(LogEvent.JOB_STARTED, "Execute 1 jobs...", jobs=[1]))
    display.emit(job(1, "describe", set="corpus-films", shard="0"))
    clock.now += 12
    display.emit(record(LogEvent.JOB_FINISHED, job_id=1))
    display.emit(record(LogEvent.PROGRESS, done=1, total=6))
    display.emit(record(None, "detail", logging.DEBUG))
    display.emit(record(None, "the disk is nearly full", logging.WARNING))
    display.emit(record(LogEvent.JOB_ERROR, "it broke", logging.ERROR, jobid=2))
    first, *rest = stream.getvalue().splitlines()
    assert first[8:] == "  1 of 6 jobs  done: features: describe corpus-films 0 (12 s)"
    assert rest == ["<the disk is nearly full>", "<it broke>"]
    display.close()


def test_running_jobs_are_named_with_the_last_rate_of_their_logs(shown, tmp_path):
    display, _, clock, _ = shown
    log = tmp_path / "job.log"
    log.write_text("2026-12-01 10:00:00,000 INFO describe: 3 of 40, 1.00 clip/s, 37 s left\n" + RATE + "a line of a library\n")
    display.emit(job(1, "describe", str(log), shard="0"))
    display.emit(job(2, "score", model="a\x1b[31mb"))
    for number in range(3, 14):
        display.emit(job(number, "describe"))
    display.emit(job(99, "all"))
    clock.now += 7
    view = display.view()
    assert view.jobs[0] == "features: describe 0  7 s  describe: 12 of 40, 2.00 clip/s, 14 s left"
    assert view.jobs[1] == "score: score a [31mb  7 s"
    assert view.jobs[-1] == "and 5 more"
    assert last_rate(str(tmp_path / "none.log")) == ""


def test_running_jobs_are_told_when_nothing_ends_for_long():
    stream = io.StringIO()
    screen = PlainScreen(lambda: View(0.5, "3 of 6 jobs", ["score: score  7 s", "score: other  2 s"]), stream, patience_s=0.02)
    until = time.monotonic() + 10
    while "other" not in stream.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    screen.close()
    told = stream.getvalue().splitlines()[:3]
    assert told[0].endswith("  3 of 6 jobs  running:")
    assert [line.strip() for line in told[1:]] == ["score: score  7 s", "score: other  2 s"]


def test_messages_wait_where_a_page_at_the_end_says_more(shown):
    display, _, _, stream = shown
    display.held = []
    display.emit(record(LogEvent.JOB_ERROR, "it broke", logging.ERROR, jobid=2, rule_name="preflight"))
    display.emit(record(None, "and so did that", logging.WARNING))
    assert (stream.getvalue(), display.failed) == ("", {"preflight"})
    assert display.held == ["<it broke>", "<and so did that>"]


def test_after_ctrl_c_nothing_more_is_said(shown, monkeypatch):
    display, _, _, stream = shown
    monkeypatch.setattr("vidmem.planning.run_display.end_jobs", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        display.interrupt(2, None)
    display.emit(record(LogEvent.JOB_ERROR, "killed", logging.ERROR, jobid=1))
    assert (display.interrupted, stream.getvalue()) == (True, "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_picture_with_hostile_words_as_they_are(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    screen = screen_on(stream)(lambda: View(0.5, "3 of 6 jobs", ["score: [red]bold[/]  7 s"]))
    assert isinstance(screen, LiveScreen)
    screen.say("a [bold]warning[/]")
    drawn = io.StringIO()
    Console(file=drawn, width=100).print(screen._picture())
    screen.close()
    assert "3 of 6 jobs" in drawn.getvalue()
    assert "[red]bold[/]" in drawn.getvalue()
    assert "a [bold]warning[/]" in Text.from_ansi(stream.getvalue()).plain


def test_without_rich_a_terminal_has_lines(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    screen = screen_on(Terminal())(lambda: View(0.0, "", []))
    screen.close()
    assert isinstance(screen, PlainScreen)
