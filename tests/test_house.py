"""The shape of the house: which way the arrows point, and what pyproject.toml must name."""

import ast
import importlib.util
import tomllib
from pathlib import Path

from optimizing_resources import __version__, tools
from optimizing_resources.server.skill import front_matter

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"_core": 0, "_catalog": 1, "_topic": 2, "tool": 3, "server": 4}


def floor(module: str) -> tuple[int, str]:
    """How high a module lives, and in which drawer; the root package counts as the ground."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in ("server", "tools"):
        return (0, "_core") if module == "optimizing_resources" else (4, "server")
    if parts[0] == "server" or len(parts) == 1:
        return 4, "server"
    name = parts[1]
    if name in ("_core", "_catalog"):
        return FLOORS[name], name
    return FLOORS["_topic" if name.startswith("_") else "tool"], name


def imports(file: Path) -> list[str]:
    """The modules of this package that a file imports, anywhere in it."""
    parts = ("optimizing_resources", *file.relative_to(ROOT).with_suffix("").parts)
    package = ".".join(parts[:-1])
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found += [f"{base}.{alias.name}" for alias in node.names] if not node.module else [base]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.split(".")[0] == "optimizing_resources"]


def sources() -> list[Path]:
    return [p for top in ("server", "tools") for p in (ROOT / top).rglob("*.py")]


def test_arrows_point_one_way():
    stray = []
    for file in sources():
        module = ".".join(("optimizing_resources", *file.relative_to(ROOT).with_suffix("").parts))
        height, drawer = floor(module.removesuffix(".__init__"))
        for target in imports(file):
            target_height, target_drawer = floor(target)
            if target_height > height or (target_height == height and target_drawer != drawer):
                stray.append(f"{module} -> {target}")
    assert not stray


def test_every_package_on_disk_is_named_in_pyproject():
    on_disk = {"optimizing_resources"} | {
        ".".join(("optimizing_resources", *p.parent.relative_to(ROOT).parts))
        for top in ("server", "tools")
        for p in (ROOT / top).rglob("__init__.py")
    }
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(config["tool"]["setuptools"]["packages"]) == on_disk


def test_there_is_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    skill = front_matter((ROOT / "SKILL.md").read_text(encoding="utf-8"))
    assert project["version"] == skill["metadata"]["version"] == __version__


NEW_TOOL = """
from optimizing_resources.tools._core.contract import Report, Request, {imports}

class {name}Request(Request): pass
class {name}Report(Report): pass

@{decorator}
def {name}(request: {name}Request) -> {name}Report:
    \"\"\"Do nothing.\"\"\"
    return {name}Report()
"""


def test_dropping_a_folder_in_adds_its_tool_and_its_commands(tmp_path, monkeypatch):
    folder = tmp_path / "zz_new_tool"
    folder.mkdir()
    tool = NEW_TOOL.format(imports="tool", decorator="tool(effect='reads')", name="zz_new_tool")
    (folder / "__init__.py").write_text(tool, encoding="utf-8")
    word = NEW_TOOL.format(imports="command", decorator="command()", name="zz_word")
    (folder / "command.py").write_text(word, encoding="utf-8")
    monkeypatch.setattr(tools, "__path__", [*tools.__path__, str(tmp_path)])
    assert list(tools.load_tools())[-1] == "zz_new_tool"
    assert "zz_word" in tools.load_commands() and "zz_word" not in tools.load_tools()
