import sys
from pathlib import Path

import pytest

from sparring.core.errors import RequestError
from sparring.core.execute import load_file, load_function


def test_a_named_file_is_executed_once(tmp_path: Path) -> None:
    file = tmp_path / "counted.py"
    file.write_text(
        "from pathlib import Path\nlog = Path(__file__).with_suffix('.log')\n"
        "log.write_text((log.read_text() if log.exists() else '') + 'x')\ndef f():\n    return 7\n"
    )
    name = f"{file}:f"
    assert load_function(name, option="--it", kind="test")() == 7
    assert load_file(name, option="--it", kind="test") is sys.modules["sparring_test_counted"]
    assert file.with_suffix(".log").read_text() == "x"


@pytest.mark.parametrize(
    ("content", "called", "message"),
    [
        (None, "f", "--it '.*': expected FILE.py:FUNCTION of an existing file"),
        ("f = 1", "f", "--it '.*': the file defines no function 'f'"),
        ("1/0", "f", "--it '.*': .*failing.py fails with ZeroDivisionError: division by zero"),
        ("def f(", "f", "--it '.*': .*failing.py fails with SyntaxError"),
    ],
)
def test_what_cannot_be_used_says_why(content: str | None, called: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "failing.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RequestError, match=message):
        load_function(f"{file}:{called}", option="--it", kind="test")
