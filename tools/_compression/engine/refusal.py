"""The one exception for what the caller can mend."""


class Refused(Exception):
    """What is wrong, what was seen, what to try."""

    def __init__(self, problem, saw=None, try_next=""):
        super().__init__(problem)
        self.reply = {
            "problem": problem,
            "saw": None if saw is None else str(saw)[:300],
            "try_next": try_next,
        }


def first_line(error):
    """The first line of an exception's text, with its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "{}: {}".format(type(error).__name__, lines[0][:240] if lines else "no message")
