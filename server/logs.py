"""The log of the HTTP server: one JSON object a line on standard error, without secrets."""

import json
import logging
import re
import sys
from datetime import UTC, datetime

# What looks like a secret: a bearer token of ours or another's, a key in an address or an assignment.
_SECRET = re.compile(
    r"""(?i)\bores_[\w-]+|(?<=bearer )[^\s"',]+"""
    r"""|((?:password|passwd|secret|token|api_?key)[\\"']*\s*[=:]\s*[\\"']*)[^\s\\"',;&]+"""
)


class JsonLines(logging.Formatter):
    """A record as one line; `extra={"fields": {...}}` of the record become keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return hidden(json.dumps(line))


def hidden(text: str) -> str:
    """The text with everything that looks like a secret replaced by ***."""
    return _SECRET.sub(lambda found: (found[1] or "") + "***", text)


def log_json() -> None:
    """Write every record of this process that way: ours from INFO on, those of libraries from WARNING on."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[stream])
    logging.getLogger(__package__).setLevel(logging.INFO)
