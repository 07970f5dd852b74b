"""The tool through its public surface: verdicts, messages, the page, the server's limits."""

import json
import re
import struct
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema
from optimizing_resources.tools._core.quantity import GIB, MIB
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_memory import (
    EstimateMemoryReport,
    EstimateMemoryRequest,
    estimate_memory,
)
from optimizing_resources.tools.estimate_memory.card import resolve_card
from optimizing_resources.tools.estimate_memory.judge import limits
from optimizing_resources.tools.estimate_memory.oom_text import read_oom

FAMILIES = Path(__file__).with_name("memory_families.py")

NEW = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried:.2f} MiB. GPU 0 has a total capacity of "
    "{total:.2f} GiB of which {free:.2f} MiB is free. Process 77 has 14.43 GiB memory in use. Of the allocated memory "
    "{held:.2f} GiB is allocated by PyTorch, and {idle:.2f} MiB is reserved by PyTorch but unallocated."
)
OLD = (
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.78 GiB total capacity; 14.49 GiB already "
    "allocated; 5.44 MiB free; 14.62 GiB reserved in total by PyTorch)"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A server's workspace in a fresh folder, with the families beside it allowed."""
    place = Workspace.of_a_server(tmp_path, (FAMILIES.parent,))
    CALL.set(Call(place))
    return place


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> EstimateMemoryReport:
    """One call that has everything: a card too small, so the search runs."""
    token = CALL.set(Call(Workspace.of_a_server(tmp_path_factory.mktemp("work"), (FAMILIES.parent,))))
    request = EstimateMemoryRequest(step=f"{FAMILIES}:decoder", arguments={"batch_size": 32}, gpu="0.75GiB")
    try:
        return estimate_memory(request)
    finally:
        CALL.reset(token)


def test_a_step_too_large_is_refused_the_card_and_gets_a_remedy_that_fits(
    report: EstimateMemoryReport,
) -> None:
    assert report.fits in ("no", "tight")
    assert report.recommended is not None and report.recommended.fits == "fits"
    assert report.recommended.saved_bytes > 0
    assert report.recommended == next(row for row in report.remedies if row.fits == "fits")
    assert not report.recommended.changes_results
    assert report.largest_batch is not None and report.largest_batch.fits < 32


def test_where_parts_of_a_batch_change_its_statistics_mixed_precision_is_tried_first(
    workspace: Workspace,
) -> None:
    request = EstimateMemoryRequest(step=f"{FAMILIES}:resnet", gpu="24GiB", remedies="search")
    found = estimate_memory(request)
    order = [row.ids[0] for row in found.remedies]
    assert order.index("mixed_precision") < order.index("gradient_accumulation")
    accumulated = next(row for row in found.remedies if row.ids == ["gradient_accumulation"])
    assert accumulated.changes_results and "changes results" in found.readable()


def test_selective_checkpointing_saves_less_in_less_time_than_whole_blocks(
    report: EstimateMemoryReport,
) -> None:
    whole, part = (row for row in report.remedies if row.ids == ["gradient_checkpointing"])
    assert "kept" in part.details and whole.details == {}
    assert 0 < part.saved_bytes < whole.saved_bytes
    assert 1 < part.step_cost_ratio < whole.step_cost_ratio


def test_the_parts_add_up_to_the_peak(report: EstimateMemoryReport) -> None:
    parts = sum(report.breakdown.model_dump().values())
    assert parts == pytest.approx(report.peak_allocated_bytes, rel=0.02)
    assert report.peak_allocated_bytes <= report.peak_reserved_bytes < report.device_bytes


def test_what_a_model_reads_is_short_and_stands_alone(report: EstimateMemoryReport) -> None:
    text = report.brief()
    assert len(text) <= 1500
    for word in ("Predicted peak", "GiB", "Largest batch_size", report.recommended.ids[0], "Timeline"):  # type: ignore[union-attr]
        assert word in text or word == "GiB"
    assert len(report.model_dump_json()) < 8000
    assert "remedy" in report.readable()


def test_the_timeline_is_one_page_without_links_or_scripts_and_a_picture(
    report: EstimateMemoryReport,
) -> None:
    assert report.timeline_path is not None and report.picture_path is not None
    page = Path(report.timeline_path).read_text(encoding="utf-8")
    assert page.count("<polygon") == 10  # five kinds, and their legend
    assert not re.search(r"<script|https?://|<link", page)
    assert report.peak_at["operator"] in page and report.peak_at["module"] in page and "capacity of" in page
    width, height, colours, pixels = decoded(Path(report.picture_path).read_bytes())
    drawn = {colours[pixel] for pixel in set(pixels)}
    assert len(pixels) == width * height
    assert {
        "4477aa",
        "ee6677",
        "228833",
        "ccbb44",
        "999999",
        "cc0000",
    } <= drawn  # every kind, and the capacity


def decoded(png: bytes) -> tuple[int, int, list[str], bytes]:
    """Width, height, palette and the pixels as its numbers, of a PNG with eight bits a pixel and unfiltered rows."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    parts, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0]
        parts[kind], at = content, at + 12 + length
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    rows = zlib.decompress(parts[b"IDAT"])
    palette = parts[b"PLTE"].hex()
    colours = [palette[at : at + 6] for at in range(0, len(palette), 6)]
    pixels = b"".join(rows[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height))
    return width, height, colours, pixels


def test_the_menu_entry_stays_within_its_budget() -> None:
    entry = estimate_memory.tool  # type: ignore[attr-defined]
    schema = json.dumps(input_schema(EstimateMemoryRequest), separators=(",", ":"))
    assert len(entry.name) + len(entry.summary) + len(schema) <= 1300


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"step": "train.py"}, "file and a function"),
        ({"step": ""}, "file and a function"),
        ({"step": "train.py:make_step"}, "No such file"),
        ({"step": "transformer", "arguments": {"layers": 2}}, "hidden: field required"),
        ({"step": "folder_without/config.json"}, "No such file"),
        ({"step": f"{FAMILIES}:mlp", "gpu": "Voodoo 2"}, "No such GPU"),
        ({"step": f"{FAMILIES}:mlp", "gpu": "0GiB"}, "holds nothing"),
        ({"step": f"{FAMILIES}:mlp", "gpu": "-5 GB"}, "no size of a card.*24GiB"),
        ({"step": f"{FAMILIES}:mlp", "remedies": ["prayer"]}, "No such remedy"),
        ({"step": f"{FAMILIES}:mlp", "oom_text": "it crashed"}, "no total capacity"),
        ({"step": f"{FAMILIES}:mlp", "python": "/no/python"}, "No Python interpreter"),
    ],
)
def test_a_request_that_cannot_be_run_is_refused_with_advice(
    workspace: Workspace, request_: dict[str, object], words: str
) -> None:
    with pytest.raises(ToolError, match=words):
        estimate_memory(EstimateMemoryRequest.model_validate(request_))


GPT = {"layers": 12, "hidden": 768, "heads": 12, "vocab": 50304, "sequence_length": 1024, "batch_size": 12}


def test_a_message_decides_between_the_models_of_one_name(workspace: Workspace) -> None:
    message = "Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 11.76 GiB of which 5 MiB is free."
    wanted = {"step": "transformer", "arguments": GPT, "gpu": "RTX 3060"}
    with pytest.raises(ToolError, match="fits several models"):
        estimate_memory(EstimateMemoryRequest.model_validate(wanted))
    found = estimate_memory(EstimateMemoryRequest.model_validate({**wanted, "oom_text": message}))
    assert found.gpu == "RTX3060"  # the one of 12 GiB


def test_dimensions_alone_give_an_answer_marked_as_assumed(workspace: Workspace) -> None:
    found = estimate_memory(EstimateMemoryRequest(step="transformer", arguments=GPT, gpu="24GiB"))
    # the simulation of examples/gpt_step.py: 15,508 MiB
    assert found.peak_allocated_bytes == pytest.approx(15508 * MIB, rel=0.05)
    assert sum(found.breakdown.model_dump().values()) == found.peak_allocated_bytes
    assert set(found.bases.values()) == {"assumed"}
    assert "closed formulas" in found.brief().lower() and found.fits
    assert found.largest_batch is not None and found.largest_batch.fits <= found.largest_batch.not_no
    smaller = {**GPT, "mixed_precision": True, "checkpointing": True}
    less = estimate_memory(EstimateMemoryRequest(step="transformer", arguments=smaller, gpu="24GiB"))
    assert less.peak_allocated_bytes < found.peak_allocated_bytes


def test_a_hugging_face_folder_needs_transformers_and_says_so(workspace: Workspace) -> None:
    folder = workspace.root / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2", "n_layer": 1}', encoding="utf-8")
    with pytest.raises(ToolError, match="pip install transformers"):
        estimate_memory(EstimateMemoryRequest(step="tiny", gpu="cpu"))


SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {  # model_type -> the rest of its config.json, and what must come back: a word of the sentence, or None
    "t5": (
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 1,
            "num_heads": 4,
            "vocab_size": 99,
            "decoder_start_token_id": 0,
        },
        None,
    ),
    "vit": ({**SMALL, "image_size": 32, "patch_size": 16}, None),
    "whisper": (
        {"architectures": ["WhisperForConditionalGeneration"]},
        "takes input_features",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_hugging_face_config_works_or_says_why_not(workspace: Workspace, kind: str) -> None:
    pytest.importorskip("transformers")
    settings, refusal = CONFIGS[kind]
    folder = workspace.root / kind
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **settings}), encoding="utf-8")
    request = EstimateMemoryRequest(step=kind, gpu="cpu", arguments={"batch_size": 2, "sequence_length": 16})
    if refusal:
        with pytest.raises(ToolError, match=refusal):
            estimate_memory(request)
    else:
        assert estimate_memory(request).breakdown.activations_bytes > 0


def test_an_endless_loop_ends_at_the_time_limit_and_is_named(workspace: Workspace) -> None:
    step = workspace.root / "endless.py"
    step.write_text("def make_step():\n    while True:\n        pass\n", encoding="utf-8")
    request = EstimateMemoryRequest(step=f"{step}:make_step", gpu="cpu", max_seconds=8)
    with pytest.raises(ToolError, match=r"did not finish in time.*(endless\.py:[23]|8 s)"):
        estimate_memory(request)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_thread_left_behind_does_not_delay_the_answer_and_a_huge_array_is_named(
    workspace: Workspace,
) -> None:
    step = workspace.root / "greedy.py"
    step.write_text(
        "import threading, time\ndef make_step():\n    threading.Thread(target=time.sleep, args=(999,)).start()\n"
        "    return bytearray(20 << 30)\n",
        encoding="utf-8",
    )
    with pytest.raises(ToolError, match=r"greedy\.py:4.*MemoryError.*same shapes"):
        estimate_memory(EstimateMemoryRequest(step=f"{step}:make_step", gpu="cpu", max_seconds=60))


@given(st.floats(8, 80), st.floats(1, 500), st.floats(0.5, 7), st.floats(0, 900))
def test_a_message_of_today_gives_back_its_own_totals(
    total: float, free: float, held: float, idle: float
) -> None:
    message = read_oom(NEW.format(tried=512, total=total, free=free, held=held, idle=idle))
    assert message.total == pytest.approx(total * GIB, abs=0.006 * GIB)
    assert message.outside == pytest.approx(
        max(0, total * GIB - free * MIB - held * GIB - idle * MIB), abs=0.02 * GIB
    )


def test_a_message_of_old_torch_is_read_too() -> None:
    message = read_oom(OLD)
    assert message.total == int(15.78 * GIB)
    assert message.outside == pytest.approx((15.78 - 14.62) * GIB - 5.44 * MIB, abs=MIB)


def test_a_message_decides_the_capacity_and_an_allowed_fraction_caps_it() -> None:
    card = resolve_card("T4")
    bounds = limits(card, read_oom(NEW.format(tried=512, total=14.56, free=100, held=13.9, idle=200)))
    assert bounds is not None and bounds.measured
    assert bounds.capacity_bytes == pytest.approx(14.56 * GIB - bounds.outside_bytes, abs=MIB)
    capped = limits(card, read_oom(OLD + " 6.00 GiB allowed;"))
    assert capped is not None and capped.capacity_bytes == 6 * GIB


def test_a_name_a_size_and_a_cpu_are_cards() -> None:
    assert resolve_card("T4").capability == (7, 5)
    assert resolve_card("24GiB").memory_bytes == 24 * GIB
    assert resolve_card("cpu").kind == "cpu"
    with pytest.raises(ToolError, match="NVIDIA"):
        resolve_card("MI300X")
