"""What a caller of apply_amp_patch gets: patches as golden files, refusals, and files replaced safely."""

import difflib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.apply_amp_patch import ApplyAmpPatchRequest, apply_amp_patch
from optimizing_resources.tools.apply_amp_patch.codemod import ORDER, load_rules, patch
from optimizing_resources.tools.apply_amp_patch.command import undo
from optimizing_resources.tools.apply_amp_patch.context import Wishes
from optimizing_resources.tools.apply_amp_patch.verify import _compare

GOLDEN = Path(__file__).parents[1] / "golden" / "apply_amp_patch"
CASES = sorted(GOLDEN.rglob("*.in.py"))
PLAIN = """import torch
net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path):
    """Every call of this file is made in a folder of its own."""
    token = CALL.set(Call(Workspace.of_a_server(tmp_path)))
    yield tmp_path
    CALL.reset(token)


def call(path: Path, **arguments):
    return apply_amp_patch(ApplyAmpPatchRequest(path=path, **arguments))


def script(folder: Path, text: str | bytes, name: str = "train.py") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def patched(report) -> bytes:
    return Path(report.patched_path).read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda p: f"{p.parent.name}-{p.name.removesuffix('.in.py')}")
def test_patch_gives_the_golden_file_and_settles(case, golden, workspace):
    source = case.read_bytes()
    remedy = case.parent.name
    report = call(script(workspace, source), remedies=[remedy])
    after = patched(report) if report.patched_path else source
    compile(after, case.name, "exec")
    sites = "".join(f"{s.line}: {s.action} {s.reason_code}: {s.note}\n" for s in report.sites)
    warnings = "".join(f"warning: {w}\n" for w in report.warnings)
    lines = [t.decode().splitlines(keepends=True) for t in (source, after)]
    diff = "".join(difflib.unified_diff(*lines, n=1)).replace("\r\n", "\n")
    golden(
        case.with_name(case.name.replace(".in.py", ".out.txt")), f"{report.outcome}\n{sites}{warnings}{diff}"
    )
    assert call(script(workspace, after), remedies=[remedy]).patched_path is None


def test_all_remedies_together_compose_and_settle(workspace):
    whole = (GOLDEN / "compile" / "whole_script.in.py").read_bytes()
    report = call(script(workspace, whole), remedies=ORDER)
    after = patched(report)
    compile(after, "train.py", "exec")
    assert set(report.remedies.values()) == {"patched"}
    assert call(script(workspace, after), remedies=ORDER).patched_path is None


def test_a_long_file_with_many_remedies_is_refused_with_how_many_would_do(workspace):
    path = script(workspace, PLAIN + "# nothing\n" * 40_000)
    with pytest.raises(ToolError, match="at most 2 at a time"):
        call(path, remedies=ORDER)


def test_every_remedy_of_the_request_has_one_rule():
    remedies = input_schema(ApplyAmpPatchRequest)["properties"]["remedies"]["items"]["enum"]
    assert sorted(remedies) == sorted(load_rules()) == sorted(ORDER)


def test_menu_entry_stays_within_its_budget():
    tool = apply_amp_patch.tool
    schema = json.dumps(input_schema(tool.request), separators=(",", ":"))
    assert len(tool.name + tool.summary + schema) <= 1250


def test_a_dry_run_writes_nothing_but_an_artifact(workspace):
    path = script(workspace, PLAIN)
    report = call(path)
    assert path.read_text() == PLAIN
    assert report.source_sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert hashlib.sha256(patched(report)).hexdigest() == report.patched_sha256
    assert [p.name for p in workspace.iterdir()] == ["train.py", ".optimizing-resources"] or len(
        list(workspace.iterdir())
    ) == 2
    assert len(report.brief()) <= 1500 and report.source_sha256 in report.brief()


def test_writing_keeps_a_backup_that_undo_brings_back(workspace):
    path = script(workspace, PLAIN)
    path.chmod(0o750)
    report = call(path, write=True, expected_sha256=call(path).source_sha256)
    assert path.read_bytes() == patched(report) != PLAIN.encode()
    assert Path(report.backup_path).read_text() == PLAIN
    assert path.stat().st_mode & 0o777 == 0o750
    undo.run(undo.request(path=path))
    assert path.read_text() == PLAIN and not Path(report.backup_path).exists()


def test_two_patches_are_undone_one_by_one(workspace):
    path = script(workspace, PLAIN)
    call(path, write=True, expected_sha256=call(path).source_sha256)
    once = path.read_bytes()
    call(path, remedies=["fused_optimizer"], write=True, expected_sha256=hashlib.sha256(once).hexdigest())
    undo.run(undo.request(path=path))
    assert path.read_bytes() == once
    undo.run(undo.request(path=path))
    assert path.read_text() == PLAIN


def test_undo_refuses_a_file_that_changed_since(workspace):
    path = script(workspace, PLAIN)
    call(path, write=True, expected_sha256=call(path).source_sha256)
    path.write_text(path.read_text() + "# mine\n")
    with pytest.raises(ToolError, match="has changed since"):
        undo.run(undo.request(path=path))
    assert path.read_text().endswith("# mine\n")


def test_a_file_that_changed_since_the_dry_run_is_not_written(workspace):
    path = script(workspace, PLAIN)
    seen = call(path).source_sha256
    path.write_text(PLAIN + "# mine\n")
    with pytest.raises(ToolError, match="not the one the dry run saw"):
        call(path, write=True, expected_sha256=seen)
    assert path.read_text() == PLAIN + "# mine\n"


def test_writing_without_the_hash_of_a_dry_run_is_refused(workspace):
    with pytest.raises(ToolError, match="expected_sha256"):
        call(script(workspace, PLAIN), write=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(workspace):
    path = script(workspace, b"a" * 3_000_000)
    code = (
        "import sys, hashlib; from pathlib import Path;"
        "from optimizing_resources.tools.apply_amp_patch.write_back import replace\n"
        "path = Path(sys.argv[1])\nprint('on', flush=True)\n"
        "while True:\n"
        "    old = path.read_bytes(); new = b'b' * 3_000_000 if old[:1] == b'a' else b'a' * 3_000_000\n"
        "    replace(path, new, expected_sha256=hashlib.sha256(old).hexdigest())\n"
    )
    for moment in (0.0, 0.004, 0.011, 0.023):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline()
        time.sleep(moment)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        content = path.read_bytes()
        assert content in (b"a" * 3_000_000, b"b" * 3_000_000)


def test_a_link_stays_a_link(workspace):
    real = script(workspace, PLAIN, "real.py")
    link = workspace / "train.py"
    link.symlink_to(real)
    call(link, write=True, expected_sha256=call(link).source_sha256)
    assert link.is_symlink() and "autocast" in real.read_text()


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("import torch\nprint 'hello'\n", "train.py", "Python 2, line 2"),
        ("import torch\nfor x in:\n    pass\n", "train.py", "not valid Python, line 2"),
        ("import torch\nx = x.cuda(async=True)\n", "train.py", "non_blocking=True"),
        (b"# -*- coding: utf-8 -*-\nx = '\xff'\n", "train.py", "not in the encoding"),
        (b"\x00\x01\x02" * 10, "train.py", "binary file"),
        ("x = 1\n" * 1_800_000, "train.py", "larger than 4 MiB"),
        ("{}", "train.ipynb", "no notebook"),
        ('{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}', "train.ipynb", "no Python.*: r"),
        ("(" * 5000 + ")" * 5000, "train.py", "not valid Python|nests too deeply"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(workspace, content, name, sentence):
    with pytest.raises(ToolError, match=sentence) as caught:
        call(script(workspace, content, name))
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_refused(workspace):
    with pytest.raises(ToolError, match="this is a folder"):
        call(workspace)
    with pytest.raises(ToolError, match="No such file"):
        call(workspace / "absent.py")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anything")
def test_a_file_that_may_not_be_written_is_refused(workspace):
    path = script(workspace, PLAIN)
    path.chmod(0o444)
    with pytest.raises(ToolError, match="may not be written"):
        call(path, write=True, expected_sha256=call(path).source_sha256)


SOLVER = """import torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)


def train(data):
    for x, y in data:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
"""
STARTS = "import torch\nimport solver\nsolver.train([(torch.ones(4, 2), torch.ones(4, 1))] * 3)\n"


def test_a_file_of_functions_is_verified_by_a_script_that_imports_it(workspace):
    path = script(workspace, SOLVER, "solver.py")
    script(workspace, STARTS, "main.py")
    remedies = ["gradient_accumulation"]  # which has no switch: two runs, not three
    report = call(path, remedies=remedies, verify_command=["python", "main.py"], python=sys.executable)
    assert report.verification["passed"] and report.verification["steps"]["patched"] == 3
    with pytest.raises(ToolError, match="runs no script"):
        call(path, verify_command=["make"], python=sys.executable)


def test_a_script_that_never_imports_the_file_verifies_nothing():
    reply = {"losses": [1.0], "error": None, "seconds": 1.0, "ran": False}
    found = _compare({"original": reply, "patched": reply}, {"mixed_precision"})
    assert found["passed"] is None and "never imports" in found["verdict"]


def test_a_file_without_training_is_no_error(workspace):
    for text in ("", "# nothing\n", "import torch\nx = 1\n"):
        report = call(
            script(workspace, text), remedies=["mixed_precision", "gradient_accumulation", "early_stopping"]
        )
        assert report.outcome == "nothing_to_do" and report.patched_path is None


def test_the_bundled_example_is_patched_though_make_step_hands_its_loss_on(workspace):
    example = Path(__file__).parents[2] / "examples" / "gpu_oom" / "train.py"
    report = call(script(workspace, example.read_text(encoding="utf-8")))
    assert report.outcome == "patched" and "autocast" in report.diff


def test_a_script_of_another_framework_is_told_where_it_gets_help(workspace):
    report = call(script(workspace, "import keras\nmodel.fit(x, y)\n"))
    assert report.outcome == "nothing_to_do" and "this one uses keras" in report.warnings[0]
    assert not call(script(workspace, "import torch\nimport keras\n")).warnings


def test_encoding_mark_and_line_endings_are_kept(workspace):
    latin = b"# -*- coding: latin-1 -*-\r\n# gr\xfc\xdfe\r\n" + PLAIN.replace("\n", "\r\n").encode()
    after = patched(call(script(workspace, latin)))
    assert after.startswith(b"# -*- coding: latin-1 -*-\r\n# gr\xfc\xdfe\r\n") and after.count(
        b"\n"
    ) == after.count(b"\r\n")
    assert patched(call(script(workspace, b"\xef\xbb\xbf" + PLAIN.encode()))).startswith(
        b"\xef\xbb\xbfimport torch"
    )
    assert not patched(call(script(workspace, PLAIN.rstrip("\n")))).endswith(b"\n")


def notebook(*cells: str) -> bytes:
    code = [
        {
            "cell_type": "code",
            "execution_count": 3,
            "metadata": {},
            "outputs": [{"text": ["0.5\n"]}],
            "source": c.splitlines(True),
        }
        for c in cells
    ]
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# Träining"]}
    tree = {"cells": [text, *code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def test_a_notebook_is_patched_in_its_code_cells_only(workspace):
    lines = PLAIN.splitlines(keepends=True)
    cells = [
        "%matplotlib inline\n" + "".join(lines[:3]),
        "!pip install \\\n  torch",
        "%%bash\nfor x in a; do echo; done",
        "".join(lines[3:]),
    ]
    before = notebook(*cells)
    report = call(script(workspace, before, "train.ipynb"))
    old, new = json.loads(before), json.loads(patched(report))
    changed = [i for i, (a, b) in enumerate(zip(old["cells"], new["cells"], strict=True)) if a != b]
    assert changed == [1, 4] and report.sites[0].note.startswith("cell 4, line 3")
    assert "".join(new["cells"][1]["source"]).startswith("%matplotlib inline\nimport torch\n")
    for a, b in zip(old["cells"], new["cells"], strict=True):
        assert {k: v for k, v in a.items() if k != "source"} == {k: v for k, v in b.items() if k != "source"}
    assert call(script(workspace, patched(report), "train.ipynb")).outcome == "already"


def test_a_block_never_spans_two_cells(workspace):
    cells = [
        "import torch\nnet = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)",
        "out = net(torch.ones(4, 2))",
        "loss = torch.nn.functional.mse_loss(out, torch.ones(4, 1))",
        "loss.backward()\noptimizer.step()",
    ]
    report = call(script(workspace, notebook(*cells), "train.ipynb"))
    new = ["".join(c["source"]) for c in json.loads(patched(report))["cells"][1:]]
    assert [c.count("with torch.autocast") for c in new] == [0, 1, 1, 0]
    compile("\n".join(new), "cells", "exec")


def test_a_cell_that_is_no_python_is_left_alone(workspace):
    report = call(script(workspace, notebook("this is no python", PLAIN), "train.ipynb"))
    assert report.outcome == "patched"


def test_a_line_that_begins_with_a_percent_sign_may_be_python(workspace):
    tail = "    print('%d %.3f'\n          %(len(y), loss))\n"
    for cell in (PLAIN + tail, "%matplotlib inline\n" + PLAIN + tail):
        report = call(script(workspace, notebook(cell), "train.ipynb"))
        assert report.outcome == "patched"
        assert json.loads(patched(report))["cells"][1]["source"][-1] == tail.splitlines(keepends=True)[-1]


def test_accumulation_changes_its_number_and_not_the_code_twice(workspace):
    once = patched(call(script(workspace, PLAIN), remedies=["gradient_accumulation"], accumulation_steps=4))
    report = call(script(workspace, once), remedies=["gradient_accumulation"], accumulation_steps=8)
    diff = [line for line in report.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert len(diff) == 2 and "micro_batches(8," in diff[1]


def test_sites_name_lines_of_the_file_given(workspace):
    report = call(script(workspace, PLAIN), remedies=["mixed_precision", "fused_optimizer"])
    found = {(s.remedy, s.line) for s in report.sites}
    assert ("fused_optimizer", 3) in found and ("mixed_precision", 7) in found


def test_every_reason_code_is_documented():
    text = (Path(__file__).parents[2] / "references" / "precision.md").read_text(encoding="utf-8")
    folder = Path(__file__).parents[2] / "tools" / "apply_amp_patch"
    codes = reason_codes(folder)
    assert len(codes) > 40
    assert {c for c in codes if f"`{c}`" not in text} == set()


def reason_codes(folder: Path) -> set[str]:
    """The second argument of Declined(...), the fourth of Site(...), and the codes of tables, read with ast."""
    import ast

    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            strings = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                "Declined",
                "site",
                "fail",
            ):
                strings = node.args[1:2]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Site":
                strings = node.args[3:4]
            elif isinstance(node, ast.Tuple) and len(node.elts) in (2, 3):
                strings = [
                    e
                    for e in node.elts[:2]
                    if isinstance(e, ast.Constant) and isinstance(e.value, str) and "_" in e.value
                ]
                strings = (
                    strings
                    if any(
                        isinstance(e, ast.JoinedStr) or (isinstance(e, ast.Constant) and " " in str(e.value))
                        for e in node.elts
                    )
                    else []
                )
            found |= {
                s.value
                for s in strings
                if isinstance(s, ast.Constant) and str(s.value).replace("_", "").isalnum()
            }
    return found


@settings(deadline=None)
@given(st.lists(st.sampled_from(PLAIN.splitlines()), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_any_mix_of_lines_parses_after_the_patch_or_is_refused(lines, newline):
    text = newline.join(lines)
    try:
        compile(text, "t", "exec")
    except SyntaxError:
        return
    once = patch(text, list(ORDER), Wishes())
    compile(once.text, "t", "exec")
    assert patch(once.text, list(ORDER), Wishes()).text == once.text


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("import torch\n", "from layers import *\n"),
        PLAIN.replace("import torch\n", "") + "with torch.cuda.amp.autocast(enabled=False):\n    net(x)\n",
    ],
)
def test_torch_that_comes_from_elsewhere_is_the_same_in_a_second_patch(text):
    once = patch(text, list(ORDER), Wishes(precision="bf16"))
    assert patch(once.text, list(ORDER), Wishes(precision="bf16")).text == once.text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (PLAIN + "torch = torch.cuda.amp.GradScaler()\n", "torch_rebound"),
        ("def step(x):\n    return x\n" * 30 + PLAIN, "bound_too_often"),
        (PLAIN * 85, "bound_too_often"),
    ],
)
def test_a_name_of_several_meanings_is_declined_before_anything_changes(text, code):
    result = patch(text, list(ORDER), Wishes())
    assert result.text == text and {site.reason_code for site in result.sites} == {code}
