"""The corpus beside the tests can be imported, by them and by the process that runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
