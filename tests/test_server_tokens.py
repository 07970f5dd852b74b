"""Whose token it is: the file, the authorization server, and what the log keeps to itself."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest
from optimizing_resources.server.introspection import Introspection
from optimizing_resources.server.logs import JsonLines, hidden
from optimizing_resources.server.tokens import TokenFile, add, make
from optimizing_resources.tools._core.contract import ToolError

HERE = "https://gpu.example.org/mcp"
GRANTED = {
    "active": True,
    "aud": HERE,
    "client_id": "app",
    "sub": "eve",
    "scope": "tools",
    "iss": "https://id.example",
}
SAID = {
    "good": GRANTED,
    "elsewhere": {**GRANTED, "aud": "https://other.example/mcp"},
    "nowhere": {key: value for key, value in GRANTED.items() if key != "aud"},
    "ended": {"active": False},
    "odd": ["no object"],
}


class Issuer(BaseHTTPRequestHandler):
    """Answers introspection requests from SAID, for the one client that may ask."""

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        allowed = self.headers["authorization"] == "Basic dXM6aHVudGVyMg=="  # us:hunter2
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(SAID.get(form["token"][0], {})).encode())

    def log_message(self, *words):
        pass


@pytest.fixture
def issuer():
    with HTTPServer(("127.0.0.1", 0), Issuer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/introspect"
        server.shutdown()


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.jsonl"
    token, entry = make("ann", tmp_path, None)
    add(path, entry)
    return path, token


@pytest.mark.anyio
async def test_the_file_knows_its_tokens_and_no_others(tokens):
    path, token = tokens
    old, entry = make("bob", None, 1)
    add(path, entry)
    known = TokenFile(path, HERE)
    found = await known.verify_token(token)
    assert (found.client_id, found.resource) == ("ann", HERE)
    for other in (old, token[:-1], token + "x", "", "ores_", entry.sha256):
        assert await known.verify_token(other) is None


@pytest.mark.anyio
async def test_the_issuer_is_asked_for_what_the_file_does_not_know(tokens, issuer, monkeypatch):
    path, token = tokens
    monkeypatch.setenv("OPTIMIZING_RESOURCES_INTROSPECTION", "us:hunter2")
    verifier = Introspection(issuer, HERE, TokenFile(path, HERE))
    assert (await verifier.verify_token(token)).client_id == "ann"
    granted = await verifier.verify_token("good")
    assert (granted.client_id, granted.subject, granted.claims) == (
        "oauth:app",
        "eve",
        {"iss": "https://id.example"},
    )
    for refused in ("elsewhere", "nowhere", "ended", "odd", "never heard of"):
        assert await verifier.verify_token(refused) is None


@pytest.mark.anyio
async def test_an_issuer_that_does_not_answer_accepts_nobody(tokens, issuer):
    path, _ = tokens
    for endpoint in (issuer, "http://127.0.0.1:9/introspect"):  # we have no secret for the first
        assert await Introspection(endpoint, HERE, TokenFile(path, HERE)).verify_token("good") is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o666), "Others may write"),
        (lambda path: path.write_text('{"name": "x"}\n', encoding="utf-8"), "Line 1"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
@pytest.mark.anyio
async def test_a_spoilt_token_file_is_refused_at_the_start_and_accepts_nobody_later(tokens, spoil, words):
    path, token = tokens
    known = TokenFile(path, HERE)
    spoil(path)
    assert await known.verify_token(token) is None
    with pytest.raises(ToolError, match=words):
        TokenFile(path, HERE)


@pytest.mark.parametrize(
    "text",
    [
        "authorization: Bearer abc.def-ghi",
        "ores_abcDEF_123-x was sent",
        "https://x/?token=abcDEF",
        '{"api_key": "abcDEF"}',
        "RuntimeError: password=abcDEF",
    ],
)
def test_what_looks_like_a_secret_is_not_logged(text):
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s\nnext", (text,), None)
    line = JsonLines().format(record)
    assert "abc" not in line and "\n" not in line and json.loads(line)["level"] == "error"


def test_what_is_no_secret_is_logged_as_it_is():
    said = "No such tool (saw triage); 512 tokens a second"
    assert hidden(said) == said
