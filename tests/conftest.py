"""Fixtures every test may use."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from optimizing_resources.tools._core.contract import CALL

TOY_SERVER = Path(__file__).with_name("toy_server.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files (and still fail)")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a golden file; --update-golden rewrites it and still fails, so that the diff is seen."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            seen = path.read_text(encoding="utf-8") if path.exists() else None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            assert seen == text, f"{path.name} was rewritten: look at the diff"
        assert path.exists(), f"{path} is missing: run pytest --update-golden"
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """The module of toy tools beside this file."""
    spec = importlib.util.spec_from_file_location("toy_server", TOY_SERVER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_server"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_call() -> Iterator[None]:
    """What one test says about its call (workspace, cancellation) is gone for the next."""
    token = CALL.set(None)
    yield
    CALL.reset(token)
