"""The documents say what was measured, in both languages, and the README's commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sparring.cli import parser

ROOT = Path(__file__).parent.parent


def test_figures_in_documents_are_the_measured_ones() -> None:
    checked = subprocess.run([sys.executable, "bench/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_commands_in_the_readme_are_accepted(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    commands = re.findall(r"^ {4}sparring (.+?)(?: {2,}#.*)?$", text, flags=re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        parser().parse_args(shlex.split(command))


def test_both_readmes_show_the_same_commands_pictures_and_programs() -> None:
    def facts(name: str) -> list[list[str]]:
        text = (ROOT / name).read_text(encoding="utf-8")
        commands = re.findall(r"^ {4}(sparring .+?|make \w+)(?: {2,}#.*)?$", text, flags=re.MULTILINE)
        code = [re.sub(r" *#.*", "", block) for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)]
        return [commands, re.findall(r'src="([^"]+)"', text), code, re.findall(r"figures:(\w+)", text)]

    assert facts("README.md") == facts("README.zh-CN.md")


def test_every_picture_and_linked_file_exists() -> None:
    for path in [ROOT / "README.md", ROOT / "README.zh-CN.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r'src="([^"]+)"', text) + re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
