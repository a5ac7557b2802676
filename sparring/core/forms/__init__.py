"""What the numbers of a sample mean, where samples are neither images nor plain vectors: one file for each kind."""

from sparring.core.forms.form import Form
from sparring.core.forms.series import Series
from sparring.core.forms.table import Table
from sparring.core.forms.text import Text

__all__ = ["Form", "Series", "Table", "Text"]
