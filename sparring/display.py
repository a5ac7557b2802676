"""What a run looks like in a terminal: one line that is kept up to date, or plain lines when nobody is watching."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from sparring.metrics.provenance import differences, provenance_text
from sparring.train.events import Alarmed, Event, Faulted, Mended, Score, Scored, Stepped
from sparring.train.schedule import Plan

PLAIN_EVERY = 10.0  # seconds between lines when the output is no terminal


class ProgressLine:
    """Shows a trainer's events on a stream; `plan` is read for how much is left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.live = self.stream.isatty()
        self.score = ""
        self._shown_at = float("-inf")
        self._width = 0

    def show(self, event: Event, plan: Plan) -> None:
        """Updates the line for what it is about; other events leave it as it is."""
        if isinstance(event, Scored):
            self.score = score_text(event.values)
            self._note(event)
        elif isinstance(event, Alarmed):
            self._line(alarm_text(event))
        elif isinstance(event, Faulted):
            alarm, at = event.alarm, count_text(event.failed.images)
            self._line(f"{alarm.name} at {at} images: {alarm.cause}")
            self._line(f"{event.mending.name}: {event.mending.mend}; what would help for good: {alarm.mend}")
        elif isinstance(event, Mended):
            mending, at = event.mending, count_text(event.clock.images)
            self._line(f"mended: {mending.name} at {at} images: {mending.mend} ({mending.cause})")
        elif isinstance(event, Stepped):
            now = time.monotonic()
            if self.live:
                if now - self._shown_at > 0.1:
                    self._shown_at = now
                    self._rewrite(step_text(event, plan, self.score, shutil.get_terminal_size().columns))
            elif now - self._shown_at > PLAIN_EVERY:
                self._shown_at = now
                self._line(step_text(event, plan, self.score, 120))

    def close(self) -> None:
        """Leaves the last state of the line standing."""
        if self.live and self._width:
            self._line("")

    def _note(self, event: Scored) -> None:
        for note in event.notes:
            self._line(f"note: {note}")
        if not self.live:
            best = " (best so far)" if event.best else ""
            self._line(f"scored at {count_text(event.clock.images)} images: {self.score}{best}")

    def _rewrite(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self._width))
        self.stream.flush()
        self._width = len(text)

    def _line(self, text: str) -> None:
        self.stream.write(("\r" + " " * self._width + "\r" if self.live and text else "") + text + "\n")
        self.stream.flush()
        self._width = 0


def alarm_text(event: Alarmed) -> str:
    """An alarm in one line: what, when, the likely cause and the way out."""
    alarm, at = event.alarm, count_text(event.clock.images)
    return f"alarm: {alarm.name} at {at} images: {alarm.cause}. To mend it: {alarm.mend}"


def step_text(event: Stepped, plan: Plan, score: str, width: int) -> str:
    """The line for one report, at most `width` - 1 characters: in short where the terminal is narrow, else cut."""
    values, images = event.values, event.clock.images
    left = f"{time_text((plan.total - images) / max(event.rate, 1e-9))} left" if plan.total else ""
    named = [("loss_d", "loss_d"), ("loss_g", "loss_g"), ("D(real)", "d_real"), ("D(fake)", "d_fake")]
    numbers = [(name, values[key]) for name, key in named if key in values]
    start = [f"{event.clock.progress:4.0%}", f"{count_text(images)} img", f"{event.rate:,.0f}/s"]
    wide = "  ".join(filter(None, [*start, *(f"{name} {value:.3f}" for name, value in numbers), score, left]))
    if len(wide) < width:
        return wide
    short = " ".join(
        filter(None, [*start, *(f"{n} {v:.2f}".replace(" 0.", " .") for n, v in numbers), score, left[:-5]])
    )
    return short.replace("loss_d ", "d ").replace("loss_g ", "g ")[: width - 1]


def score_text(values: dict[str, float]) -> str:
    """The score that a progress line shows: the first one.

    >>> score_text({"fid": 31.234, "fid_real": 1.1})
    'fid 31.2'
    """
    return "".join(f"{name} {value:.3g}" for name, value in list(values.items())[:1])


def score_table(scores: Sequence[tuple[str, Score]]) -> str:
    """Scores for people: one below the other, each value with its 95 % interval; where there are several, what makes
    them differ in kind is said before any number invites to compare them."""
    lines = []
    for name, score in scores:
        lines.append(f"{name}: {provenance_text(score.provenance)}")
        lines += [f"  {line}" for line in value_lines(score.values)]
        lines += [f"  note: {note}" for note in score.notes]
    first = scores[0]
    for name, score in scores[1:]:
        found = differences(first[1].provenance, score.provenance)
        if found:
            lines.append(f"not to be compared, {first[0]} / {name}: {'; '.join(found)}")
    return "\n".join(lines)


def value_lines(values: Mapping[str, float]) -> list[str]:
    """Each value on a line, with its interval where it has one.

    >>> value_lines({"kid": 0.5, "kid_low": 0.25, "kid_high": 0.75, "classes_covered": 10.0})
    ['kid              0.5 (0.25 to 0.75)', 'classes_covered  10']
    """
    ends = {f"{name}_{end}" for name in values for end in ("low", "high")}
    width = max((len(name) for name in values if name not in ends), default=0)
    lines = []
    for name, value in values.items():
        if name in ends:
            continue
        low, high = (values.get(f"{name}_{end}") for end in ("low", "high"))
        interval = "" if low is None or high is None else f" ({low:.3g} to {high:.3g})"
        lines.append(f"{name:<{width}}  {value:.4g}{interval}")
    return lines


def count_text(count: int) -> str:
    """A count in at most five characters.

    >>> count_text(950), count_text(12_800), count_text(1_234_567)
    ('950', '12.8k', '1.23M')
    """
    if count < 1000:
        return str(count)
    if count < 1_000_000:
        return f"{count / 1000:.3g}k" if count < 999_500 else "1M"
    return f"{count / 1_000_000:.3g}M"


def time_text(seconds: float) -> str:
    """A duration as m:ss or h:mm:ss.

    >>> time_text(75), time_text(3725)
    ('1:15', '1:02:05')
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class EpochBar:
    """The beginner's bar, one for each epoch: `epoch 3/100: [####----] 41.00%  loss_g 0.689  loss_d 0.712`.

    On a stream that is no terminal an epoch is one line.
    """

    WIDTH = 24

    def __init__(self, first: int, epochs: int, num_samples: int, stream: TextIO | None = None) -> None:
        self.first, self.epochs, self.num_samples = first, epochs, num_samples
        self.stream = sys.stdout if stream is None else stream
        self.live = self.stream.isatty()
        self._epoch = first
        self._last = ""

    def show(self, event: Stepped) -> None:
        """Redraws the bar; an epoch that ended since the last call is finished with a full one."""
        epoch, images = divmod(event.clock.images, self.num_samples)
        losses = f"loss_g {event.values.get('loss_g', 0):.3f}  loss_d {event.values.get('loss_d', 0):.3f}"
        while self._epoch < epoch:
            self._write(self._bar(self._epoch, 1.0, losses), end=True)
            self._epoch += 1
        if images:
            self._write(self._bar(epoch, images / self.num_samples, losses), end=False)

    def alarm(self, event: Alarmed) -> None:
        """Says an alarm on a line of its own."""
        self.close()
        self._last = ""
        self.stream.write(alarm_text(event) + "\n")

    def close(self) -> None:
        """Ends the line that is being redrawn."""
        if self.live and self._last:
            self.stream.write("\n")

    def _bar(self, epoch: int, share: float, losses: str) -> str:
        full = round(share * self.WIDTH)
        bar = "#" * full + "-" * (self.WIDTH - full)
        return f"epoch {epoch - self.first + 1}/{self.epochs}: [{bar}] {100 * share:.2f}%  {losses}"

    def _write(self, text: str, *, end: bool) -> None:
        if self.live:
            self.stream.write("\r" + text.ljust(len(self._last)) + ("\n" if end else ""))
            self._last = "" if end else text
        elif end:
            self.stream.write(text + "\n")
        self.stream.flush()
