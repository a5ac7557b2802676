from __future__ import annotations

import io

import pytest

from sparring.core.exchange import Clock
from sparring.display import ProgressLine, step_text
from sparring.train.events import Scored, Stepped
from sparring.train.schedule import Plan

VALUES = {"loss_d": 1.234, "loss_g": 0.987, "d_real": 0.712, "d_fake": 0.288, "r1": 0.01}
PLAN = Plan([(0, 0.0), (320_000, 1.0)])


def stepped(images: int = 134_400) -> Stepped:
    return Stepped(Clock(images // 64, images, images / 60_000, PLAN.progress(images)), VALUES, 2905.4)


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_the_line_fits_any_terminal(width: int) -> None:
    text = step_text(stepped(), PLAN, "fid 31.2", width)
    assert len(text) < width
    assert text.split()[:3] == ["42%", "134k", "img"]


def test_what_the_line_says() -> None:
    text = step_text(stepped(), PLAN, "fid 31.2", 120)
    for part in ("2,905/s", "loss_d 1.234", "loss_g 0.987", "D(real) 0.712", "D(fake) 0.288", "fid 31.2", "1:04 left"):
        assert part in text


def test_eighty_columns_hold_all_of_it() -> None:
    text = step_text(stepped(), PLAN, "fid 31.2", 80)
    for part in ("2,905/s", " d 1.23 g .99 ", "D(real) .71", "D(fake) .29", "fid 31.2", "1:04"):
        assert part in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_and_a_pipe_plain_ones() -> None:
    scored = Scored(Clock(2100, 134_400, 2.2, 0.42), {"fid": 31.2}, {}, ("few samples",), True)
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        line = ProgressLine(stream)
        for event in (stepped(64), scored, stepped()):
            line.show(event, PLAN)
        line.close()
    assert "\r" in terminal.getvalue()
    assert "\r" not in pipe.getvalue()
    assert "scored at 134k images: fid 31.2 (best so far)\n" in pipe.getvalue()
    for stream in (terminal, pipe):
        assert "note: few samples\n" in stream.getvalue()
