"""What the errors of this project have in common."""


class UserError(ValueError):
    """Something that the user can mend; the message names the file, row or flag, and says what to do. Commands print it
    and end (`commands.py`)."""
