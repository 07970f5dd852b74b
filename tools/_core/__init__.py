"""Shared ground without domain knowledge: standard library, pydantic and psutil only.

contract      Request, Report, ToolError, the @tool and @command decorators and the context of a call
arguments     what a caller gave, read as a Request, or the sentence that refuses it
schema        JSON schemas as hosts are shown them
quantity      where a figure comes from (basis) and how bytes are written for people
machine       nouns for what a computer offers; the Report of detect_hardware, a field of other Requests
workspace     which files of the caller may be read and written, and where artifacts go
ledger        what was measured in a workspace; how another tool reads a measurement by its id
interpreter   which Python runs the caller's code
worker        the child process that runs an engine, and its end
child         what runs inside that process; Python 3.9 syntax, standard library only
"""
