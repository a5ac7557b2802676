"""`python -m sparring.testing FILE.py`."""

import sys

from sparring.testing.module import main

sys.exit(main())
