"""Triage through its public function: constraint, cause, numbers, evidence, plan, refusals."""

import json
import math
import re
from contextlib import closing

import pytest
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, current_call
from optimizing_resources.tools._core.ledger import Figure, Run, append, ledger_path, new_id, now, open_ledger
from optimizing_resources.tools._core.machine import Accelerator, GpuProcess, HostMemory, Machine
from optimizing_resources.tools._core.quantity import GIB
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools._remedies import BY_ID, ORDER, PREPARE
from optimizing_resources.tools.triage_constraint import (
    TriageConstraintReport,
    TriageConstraintRequest,
    triage_constraint,
)
from optimizing_resources.tools.triage_constraint.messages import MESSAGES
from optimizing_resources.tools.triage_constraint.reading import WORDS
from pydantic import ValidationError

OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried}. GPU 0 has a total capacity of {total} GiB"
    " of which {free} GiB is free. Including non-PyTorch memory, this process has {process} GiB memory in use. Of the"
    " allocated memory {allocated} GiB is allocated by PyTorch, and {idle} GiB is reserved by PyTorch but unallocated."
)


def triage(text: str | None = None, **arguments: object) -> TriageConstraintReport:
    return triage_constraint(TriageConstraintRequest.model_validate({"text": text, **arguments}))


def oom(tried: str, total: float, free: float, allocated: float, idle: float) -> str:
    process = round(total - free, 2)
    return OOM.format(tried=tried, total=total, free=free, process=process, allocated=allocated, idle=idle)


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        # what programs print
        ("RuntimeError: HIP out of memory. Tried to allocate 1.00 GiB", "gpu_memory"),
        (
            "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
            "gpu_memory",
        ),
        (
            "ggml_backend_cuda: allocating 5200.00 MiB on device 0: cudaMalloc failed: out of memory",
            "gpu_memory",
        ),
        ("failed to alloc 8589934592 bytes on host: CUDA_ERROR_OUT_OF_MEMORY: out of memory", "host_memory"),
        ("OOM when allocating tensor with shape[64,1024] by allocator cpu", "host_memory"),
        ("slurmstepd: error: Detected 2 oom_kill events in StepId=7.0", "host_memory"),
        ("RuntimeError: unable to write to file </torch_12_3>: No space left on device (28)", "host_memory"),
        ("OSError: [Errno 28] No space left on device: 'runs/last.pt'", "disk"),
        ("slurmstepd: *** JOB 7 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", "compute_time"),
        (
            "Watchdog caught collective operation timeout: WorkNCCL(OpType=ALLREDUCE, Timeout(ms)=1800000)",
            "network",
        ),
        ("AssertionError: Torch not compiled with CUDA enabled", "no_gpu"),
        ("model.elf section `.bss' will not fit in region `dram0_0_seg'", "edge"),
        # what they print that is no resource, though memory words stand around it
        ("CUDA error: device-side assert triggered\nafter it: CUDA memory is low", "not_a_resource_problem"),
        (
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (8x512 and 768x2)",
            "not_a_resource_problem",
        ),
        ("my loss is nan after a few steps of training with a bigger batch", "not_a_resource_problem"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "out_of_scope"),
        # what people write
        ("Fine-tuning takes four days on one card, how do I make it faster?", "compute_time"),
        ("Every answer of the deployed model takes 3 seconds, far too slow", "inference_latency"),
        ("We pay for the endpoint all night although nobody sends requests", "budget"),
        ("I only have 90 labelled images, is that enough to train a classifier?", "training_data"),
        ("It must run on a Jetson Nano and gets 2 fps", "edge"),
        ("Can I run this without a GPU?", "no_gpu"),
        ("make my GAN fit 8 GB", "gpu_memory"),
        ("The ImageNet dataset does not fit the 500 GB SSD of my server", "disk"),
        ("Training on 4 GPUs is slower than on one", "network"),
        ("Which GPU should I buy for deep learning?", "out_of_scope"),
        ("The editor lags when I open a large file in the browser", "out_of_scope"),
        # and in other languages
        ("Das Training dauert viel zu lange", "compute_time"),
        ("推理速度太慢", "inference_latency"),
        ("Недостаточно памяти на видеокарте при обучении", "gpu_memory"),
        ("El entrenamiento es muy lento", "compute_time"),
        ("データが少ないので過学習します", "training_data"),
    ],
)
def test_the_binding_constraint_is_named(text, constraint):
    assert triage(text).constraint == constraint


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (oom("2.00 GiB", 24.0, 0.5, 12.0, 11.0), "fragmentation"),
        (oom("8.00 GiB", 24.0, 6.0, 17.0, 0.3), "single_huge_tensor"),
        (oom("0.50 GiB", 24.0, 0.3, 10.0, 0.2), "other_process"),
        (oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9), None),  # the normal case: nothing in the figures says why
        (oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9) + "\nMemory grows after every epoch.", "leak"),
        (oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9) + "\nIt fails during validation.", "eval_no_grad"),
    ],
)
def test_the_cause_follows_from_the_figures_and_is_null_where_they_do_not_decide(text, cause):
    report = triage(text)
    assert report.constraint == "gpu_memory"
    assert report.sub_cause == cause
    assert (report.decisive_check is None) == (cause is not None)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. Workers may be out of shared memory.",
            "shm_limit",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Killed.", "dataloader_workers"),
        ("the pod was OOMKilled, exit code 137", "container_limit"),
        ("Torch not compiled with CUDA enabled on my Mac mini M1", "apple_silicon"),
        ("The first request takes 40 seconds, later ones 50 ms: too slow", "warmup"),
        ("Our notebook instance is still running and we get charged", "idle_resources"),
        ("Which SageMaker instance type should I choose?", "instance_selection"),
        # what decides stands before what is left when nothing does
        ("torch.cuda.is_available() is False, torch is 2.3.0+cpu, nvidia-smi lists my GPU", "cpu_only_build"),
        ("Training began at 30 minutes per epoch and now it takes 8 hours per epoch", "slowdown_over_time"),
        ("My Colab notebook disconnects after 90 minutes and the training is lost", "walltime_limit"),
        ("CUDA out of memory, der Speicher wächst von Schritt zu Schritt", "leak"),
        ("GPU utilization is 95% while training, an epoch takes 4 hours, too slow", "true_capacity"),
        # forty per cent are not zero, and trees run on no GPU: which part takes the time is open
        ("The XGBoost service behind a ColumnTransformer has a latency of 200 ms, CPU usage 40%", None),
    ],
)
def test_what_a_message_means_comes_before_the_words_around_it(text, cause):
    assert triage(text).sub_cause == cause


def test_a_cap_on_the_process_is_raised_by_hand_not_patched_around():
    capped = oom("1.00 GiB", 44.0, 9.0, 17.4, 0.1).replace(
        "Of the allocated", "17.60 GiB allowed; Of the allocated"
    )
    report = triage(capped)
    assert report.sub_cause == "fraction_limit"
    assert (report.plan[0].remedy, report.plan[0].tool) == ("allocator_settings", None)


def test_a_gpu_that_is_not_used_is_put_to_use_before_anything_that_does_without_one():
    mac = triage("torch.cuda.is_available() is False on my MacBook M2, training my ResNet takes forever").plan
    assert (mac[0].remedy, mac[0].tool) == ("runtime", None) and "'mps'" in mac[0].why
    assert "compare_baselines" not in {step.tool for step in mac}
    slow = triage("fine-tuning a ResNet-50 on my Mac is slow")
    assert slow.constraint == "compute_time" and "'mps'" in slow.plan[0].why


def test_a_slow_transfer_is_no_slow_training():
    report = triage("downloading the dataset takes 9 hours on our 20 Mbit line")
    assert (report.constraint, report.sub_cause) == ("network", "download_bandwidth")
    assert [step.remedy for step in report.plan] == ["stream_data"] and report.baseline == []


def test_a_serving_engine_gets_its_own_settings_and_no_call_that_wants_a_training_script():
    full = "The model's max seq len (32768) is larger than the tokens that can be stored in KV cache (7344)"
    report = triage(full)
    assert report.sub_cause == "kv_cache" and report.handoff is None and report.baseline == []
    assert "at most 7344" in report.plan[0].why and {step.tool for step in report.plan} == {None}
    slow = triage("ollama run llama3:70b gives 0.8 tokens/s, GPU utilisation 20%").plan
    assert {step.tool for step in slow} == {None} and "num_gpu" in slow[0].why
    assert [step.remedy for step in slow][-1] == "batching"  # more tokens in all, none sooner


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "jaxlib RESOURCE_EXHAUSTED: Out of memory while trying to allocate 19660800000 bytes",
            "jax.checkpoint",
        ),
        ("W tensorflow/bfc_allocator.cc Allocator (GPU_0_bfc) ran out of memory, keras fit", "RematScope"),
    ],
)
def test_other_frameworks_are_told_what_to_write_and_get_no_call_that_reads_torch(text, words):
    report = triage(text)
    assert report.constraint == "gpu_memory" and any(words in step.why for step in report.plan)
    assert {step.tool for step in report.plan} == {None} and "PyTorch only" in report.notes[0]
    assert [call.tool for call in report.baseline] == ["measure_run"] and "max_steps" not in str(
        report.baseline
    )


@pytest.mark.parametrize(("made", "kept"), [("UNet()", False), ("UNet.from_pretrained('x')", True)])
def test_adapters_are_for_weights_of_another_training(tmp_path, made, kept):
    script = tmp_path / "train.py"
    script.write_text(f"import torch\nmodel = {made}\n", encoding="utf-8")
    report = triage("CUDA out of memory", script_path=str(script))
    assert ("lora" in {step.remedy for step in report.plan}) == kept


@pytest.mark.parametrize(
    ("made", "kept"), [("AutoModel.from_pretrained('bert')", False), ("resnet18()", True)]
)
def test_a_memory_format_of_convolutions_is_for_convolutions(tmp_path, made, kept):
    script = tmp_path / "train.py"
    script.write_text(f"import torch\nmodel = {made}\n", encoding="utf-8")
    report = triage(
        "GPU utilization is 95% while training, an epoch takes 4 hours, too slow", script_path=str(script)
    )
    assert ("channels_last" in {step.remedy for step in report.plan}) == kept


def test_bytes_in_a_table_are_no_size_of_a_model():
    assert triage("RESOURCE_EXHAUSTED: Out of memory\n    constant allocation:       132B").sub_cause is None


def test_trees_get_their_own_kind_of_file_and_no_remedy_of_networks():
    report = triage("Our LightGBM model needs 180 ms for one row, the p99 latency is too high")
    assert {step.remedy for step in report.plan}.isdisjoint(("quantization", "pruning", "distillation"))
    assert "LightGBM" in report.plan[0].needs[0] and report.decisive_check is not None


def test_a_quote_starts_where_its_sentence_does():
    line = f"{'x ' * 200}CUDA out of memory. Tried to allocate 44.00 MiB (GPU 0; 14.56 GiB total capacity; 13.25 GiB"
    line += f" already allocated; 10.44 MiB free; 13.83 GiB reserved in total by PyTorch){' y' * 200}"
    quote = triage(line).evidence[0].quote
    assert quote.startswith("Tried to allocate 44.00 MiB") and quote in line


def test_ideas_of_several_sentences_are_quoted_where_the_last_of_them_is_named():
    report = triage("I train with 4 RTX 3090 GPUs in one box.\nHowever, a single device is much faster.")
    assert report.sub_cause == "multi_gpu_scaling" and report.evidence[0].line == 2


def test_a_bill_with_its_busy_hours_is_a_workload():
    told = triage("We pay $4,320 a month for a GPU that is busy 12 hours a day and idle on weekends")
    workload = {"kind": "running", "usd_per_hour": 6.0, "busy_hours_per_day": 12.0, "busy_days_per_week": 5}
    assert told.sub_cause == "idle_resources"
    assert (told.baseline[0].arguments, told.baseline[0].needs) == ({"workload": workload}, [])
    open_ = triage("We pay $4,320 a month for a GPU that sits idle").baseline[0]
    assert open_.arguments == {} and "busy_hours_per_day" in open_.needs[0]


def test_a_container_that_sees_its_own_process_as_another_is_not_blamed_on_others():
    text = (
        "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 14.58 GiB of which 0.50 GiB is"
        " free. Process 77 has 14.08 GiB memory in use. Of the allocated memory 13.60 GiB is allocated by PyTorch"
    )
    assert triage(text).sub_cause is None


def test_the_allocator_figures_are_read_as_printed_also_when_a_terminal_wrapped_them():
    text = oom("512.00 MiB", 23.64, 1.25, 20.5, 1.75)
    wrapped = "\n".join(text[i : i + 80] for i in range(0, len(text), 80))
    expected = {
        "tried_gib": 0.5,
        "total_gib": 23.64,
        "free_gib": 1.25,
        "process_gib": 22.39,
        "allocated_gib": 20.5,
        "reserved_unalloc_gib": 1.75,
    }
    assert triage(text).numbers == expected
    assert triage(wrapped).numbers == expected


def test_cached_of_old_pytorch_is_reserved_without_allocated_and_reserved_of_newer_includes_it():
    head = "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 8.00 GiB total capacity; "
    head += "6.00 GiB already allocated; "
    assert triage(head + "1.00 GiB free; 512.00 MiB cached)").numbers["reserved_unalloc_gib"] == 0.5
    assert (
        triage(head + "1.00 GiB free; 6.50 GiB reserved in total by PyTorch)").numbers["reserved_gib"] == 6.5
    )


def test_the_last_error_of_a_log_counts_and_is_quoted_with_its_line(tmp_path):
    log = tmp_path / "train.log"
    early = "[Errno 28] No space left on device\n"
    lines = [
        early,
        *(f"step {n} loss 1.0\n" for n in range(400)),
        "torch.OutOfMemoryError: CUDA out of memory.\n",
    ]
    log.write_text("".join(lines), encoding="utf-8")
    report = triage(log_path=str(log))
    assert report.constraint == "gpu_memory"
    assert report.evidence[0].line == 402
    assert "CUDA out of memory" in report.evidence[0].quote


def test_a_large_log_gives_the_same_answer_as_its_last_lines(tmp_path):
    log = tmp_path / "train.log"
    filler = "2026-11-20 12:00:00 step 1 loss 2.3 it/s 3.4\n" * 60_000
    log.write_text(filler + oom("2.00 GiB", 24.0, 0.5, 12.0, 11.0) + "\n", encoding="utf-8")
    report = triage(log_path=str(log))
    assert (report.constraint, report.sub_cause, report.evidence[0].line) == (
        "gpu_memory",
        "fragmentation",
        60_001,
    )


def test_every_message_format_of_a_resource_survives_the_skim_of_a_large_log():
    """A format none of whose needles holds a skim word would be lost in logs above 256 KiB."""
    words = [word.decode() for word in WORDS]
    resources = [m for m in MESSAGES if m.constraint not in ("not_a_resource_problem", "out_of_scope")]
    lost = [m.shows for m in resources if not any(word in needle for word in words for needle in m.needles)]
    assert not lost


def test_what_the_machine_shows_decides_what_the_log_leaves_open():
    held = GpuProcess(pid=9, name="python", memory_bytes=20 * GIB)
    busy = Accelerator(index=0, vendor="nvidia", name="NVIDIA L4", memory_bytes=24 * GIB, processes=[held])
    hardware = Machine(accelerators=[busy]).model_dump()
    report = triage("RuntimeError: CUDA error: out of memory", hardware=hardware)
    assert report.sub_cause == "other_process"
    assert report.plan[0].remedy == "free_other_process"
    # a card that the log's own process fills was not filled by somebody who came later
    assert triage(oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9), hardware=hardware).sub_cause is None
    limited = Machine(memory=HostMemory(total_bytes=64 * GIB, limit_bytes=8 * GIB))
    assert triage("MemoryError", hardware=limited.model_dump()).sub_cause == "container_limit"


def test_a_machine_that_says_nothing_of_its_cards_is_not_taken_for_one_without():
    with pytest.raises(ValidationError, match="belongs in `text`"):
        triage("training is slow", hardware={"gpu": "T4"})
    for hardware, first in [({"memory": {}}, "dataloader"), ({"accelerators": []}, "cpu_threads")]:
        assert triage("training is slow", hardware=hardware).plan[0].remedy == first


def kept(folder, outcome, report, figures=(), **conditions):
    """The id of a run in a fresh ledger."""
    CALL.set(Call(Workspace.of_the_caller(folder)))
    usual = {"tool": "measure_run", "device": "cpu", "workload": "w", "conditions": conditions}
    run = Run(id=new_id(), taken_at=now(), outcome=outcome, report=report, figures=list(figures), **usual)
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        append(ledger, run)
    return run.id


@pytest.mark.parametrize(
    ("outcome", "causes", "found"),
    [
        ("stopped_at_limit", [], ("compute_time", "true_capacity")),
        ("stopped_at_limit", [("data_loader_bound", 0.6)], ("compute_time", "data_loader_bound")),
        ("stopped_at_limit", [("synchronization", 0.001)], ("compute_time", "true_capacity")),
        ("stopped_at_limit", [("leak", None)], ("host_memory", "leak")),
        ("out_of_memory", [], ("host_memory", None)),
        ("crashed", [], ("not_a_resource_problem", "bug_other")),
    ],
)
def test_a_measurement_outweighs_what_the_text_complains_of(outcome, causes, found, tmp_path):
    report = {
        "causes": [{"cause": c, "share": share, "evidence": "seen"} for c, share in causes],
        "steps": 30,
    }
    answer = triage("inference is too slow", measurement=kept(tmp_path, outcome, report))
    assert (answer.constraint, answer.sub_cause) == found
    assert answer.evidence[0].source == "measurement"


_CARD_FULL = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.parametrize(
    ("outcome", "reason", "on_gpu", "found"),
    [
        ("out_of_memory", f"Out of memory before any training step: {_CARD_FULL}", False, "gpu_memory"),
        ("out_of_memory", "Ended after 9 steps at 8 GiB of host memory, over the limit", True, "host_memory"),
        ("crashed", "Exit code 1 after 3 s: OSError: [Errno 28] No space left on device", False, "disk"),
        ("crashed", "Exit code 1 after 3 s: KeyError: 'x'", False, "not_a_resource_problem"),
    ],
)
def test_a_measured_run_failed_of_what_its_last_error_says(outcome, reason, on_gpu, found, tmp_path):
    card = [Figure(metric="peak_gpu_bytes", value=2.0**30, unit="bytes")] if on_gpu else []
    assert triage(measurement=kept(tmp_path, outcome, {"reason": reason}, card)).constraint == found


def test_a_failed_run_s_output_is_read_with_its_measurement(tmp_path):
    output = tmp_path / "output.log"
    output.write_text(oom("2.00 GiB", 14.58, 1.0, 13.2, 0.2) + "\n", encoding="utf-8")
    reason = f"Out of memory before any training step: {_CARD_FULL}"
    report = triage(
        measurement=kept(tmp_path, "out_of_memory", {"reason": reason, "output_path": str(output)})
    )
    assert report.numbers["total_gib"] == 14.58
    assert [evidence.source for evidence in report.evidence][:2] == ["measurement", "output.log"]


@pytest.mark.parametrize(
    ("text", "first", "never"),
    [
        ("CUDA out of memory during inference of a 7B model", "inference_mode", "gradient_accumulation"),
        ("CUDA out of memory when training with batch size 1", "mixed_precision", "gradient_accumulation"),
        (
            "CUDA out of memory: batch_size 1 works, training at batch_size 16 not",
            "gradient_accumulation",
            "",
        ),
        ("MPS backend out of memory while training on my MacBook", "mixed_precision", "eight_bit_optimizer"),
        ("LightGBM training is slow on 10 million rows", "cpu_threads", "compile"),
    ],
)
def test_no_remedy_is_named_that_means_nothing_for_the_job(text, first, never):
    report = triage(text)
    assert report.plan[0].remedy == first
    assert never not in [step.remedy for step in report.plan] + report.fallback
    assert report.sub_cause != "batch_too_large" or never == ""


def test_no_tool_for_series_is_named_for_pictures():
    pictures = triage("I have only 90 images")
    tools = {call.tool for call in [*pictures.plan, *pictures.baseline]}
    assert not tools & {"compare_baselines", "augment_series"} and "measure_run" in tools
    series = triage("I have only 90 data points of monthly sales to forecast")
    assert series.baseline[0].tool == "compare_baselines"


def test_a_measured_run_that_took_no_step_names_no_constraint(tmp_path):
    with pytest.raises(ToolError, match="neither failed nor took a step"):
        triage(measurement=kept(tmp_path, "finished", {"steps": 0}))
    calls = {"steps": 200, "step_source": "calls"}
    assert triage(measurement=kept(tmp_path, "finished", calls)).constraint == "inference_latency"
    few = triage(measurement=kept(tmp_path, "finished", {"steps": 3, "step_source": "optimizer"}))
    assert (few.constraint, few.sub_cause) == ("compute_time", None)


@pytest.mark.parametrize(
    ("command", "known"),
    [(["python", "train.py"], True), (["python", "train.py", "--token=***"], False)],
)
def test_a_step_that_measures_repeats_the_command_of_the_measurement(tmp_path, command, known):
    loader = {"causes": [{"cause": "leak", "share": 0.9, "evidence": "it grows"}], "steps": 40}
    step = triage(measurement=kept(tmp_path, "finished", loader, command=command)).plan[0]
    assert step.tool == "measure_run" and step.arguments.get("command") == (command if known else None)
    assert bool(step.needs) != known  # what is kept of a secret cannot be run


@pytest.mark.parametrize(
    ("before_mib", "steps", "first"),
    [(300, 0, "gradient_accumulation"), (700, 0, "stream_data"), (300, 40, "stream_data")],
    ids=["the step fills memory", "what was loaded before it does", "the step has fitted for long"],
)
def test_a_step_on_the_cpu_that_fills_host_memory_is_made_smaller_itself(tmp_path, before_mib, steps, first):
    (tmp_path / "train.py").write_text("def make_step(): ...\n", encoding="utf-8")
    report = {"reason": "too much", "training_device": "cpu", "peak_rss_bytes": 768 << 20, "steps": steps}
    report["rss_before_training_bytes"] = before_mib << 20
    script = {"path": str(tmp_path / "train.py")}
    answer = triage(measurement=kept(tmp_path, "out_of_memory", report, script=script))
    assert answer.constraint == "host_memory" and answer.plan[0].remedy == first
    if first == "gradient_accumulation":
        assert answer.plan[0].arguments["path"] == "train.py" and not answer.plan[0].needs
        assert [call.tool for call in answer.baseline] == ["estimate_memory"]  # the run is the baseline
        assert answer.baseline[0].arguments["gpu"] == "cpu" and not answer.baseline[0].needs


_RETAINED = "total = 0\nfor x in loader:\n    loss = f(x)\n    scale(loss).backward()\n    total += loss\n"


def test_a_retained_graph_in_the_script_is_shown_and_put_first(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(_RETAINED, encoding="utf-8")
    report = triage(oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9), script_path=str(script))
    assert report.sub_cause == "leak"
    assert report.plan[0].remedy == "release_graph"
    assert any(e.line == 5 and e.source == str(script) for e in report.evidence)


@pytest.mark.parametrize(
    "step",
    [
        "    loss = f(x)\n    loss += penalty_loss\n    loss.backward()\n",
        "    total = 0\n    for head_loss in g(x):\n        total += head_loss\n    total.backward()\n",
        "    loss = f(x).item()\n    seen += loss\n",
        "    loss = train(x)\n    seen += loss\n",
        "    losses = []\n    losses.append(f_loss)\n    sum(losses).backward()\n",
    ],
)
def test_a_sum_that_ends_with_its_step_is_no_retained_graph(step, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(f"seen = 0\nfor x in loader:\n{step}", encoding="utf-8")
    report = triage("CUDA out of memory", script_path=str(script))
    assert not any(e.source == str(script) for e in report.evidence)
    assert "release_graph" not in [step.remedy for step in report.plan]


def test_a_retained_graph_is_named_second_where_the_figures_name_another_cause(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(_RETAINED, encoding="utf-8")
    words = "Process 7 has 20.00 GiB memory in use. this process has 3.00 GiB memory in use."
    report = triage(f"{oom('0.50 GiB', 24.0, 0.3, 2.0, 0.1)} {words}", script_path=str(script))
    assert [report.sub_cause, *(s.remedy for s in report.plan[:2])] == [
        "other_process",
        "free_other_process",
        "release_graph",
    ]


def test_the_order_for_gpu_memory_is_least_harmful_first_and_leaves_out_what_the_script_has(tmp_path):
    plain = [step.remedy for step in triage("CUDA out of memory").plan]
    assert plain[:3] == ["mixed_precision", "gradient_accumulation", "gradient_checkpointing"]
    script = tmp_path / "train.py"
    script.write_text("with torch.autocast('cuda'):\n    pass\n", encoding="utf-8")
    report = triage("CUDA out of memory", script_path=str(script))
    assert report.plan[0].remedy == "gradient_accumulation"
    assert any(name.startswith("mixed_precision") for name in report.fallback)


def test_a_card_without_bf16_never_gets_it():
    step = next(s for s in triage("CUDA out of memory on my Tesla T4").plan if s.remedy == "mixed_precision")
    assert "without native bf16" in step.why or step.tool is None
    assert step.arguments.get("precision", "fp16") == "fp16"


@pytest.mark.parametrize(
    ("text", "tool", "asked"),
    [
        (
            "200 ms per request is too slow for our ResNet-50 on CPU, need 50 ms",
            "quantize_model",
            {"max_latency_seconds": 0.05},
        ),
        ("requests need 200 ms, way too slow", "quantize_model", {}),
        (
            "inference takes 1.2 s per image, must be under 300 ms on a Raspberry Pi 4, losing at most 1% accuracy",
            "quantize_model",
            {"device_profile": "raspberry_pi_4", "max_metric_drop": "1%"},
        ),
        (
            "my detector on a Raspberry Pi 4 takes 900 ms a frame. Accuracy may drop by 1 point.",
            "quantize_model",
            {"device_profile": "raspberry_pi_4", "max_metric_drop": "1%"},
        ),
        (
            "our app's model file is 90 MB on android, the limit is 20 MB",
            "quantize_model",
            {"device_profile": "phone", "max_size_bytes": 20_000_000},
        ),
        (
            "I have 90 data points of monthly sales and need a 12 month forecast",
            "compare_baselines",
            {"horizon": 12},
        ),
        ("only 40 samples of daily load, predict the next 3 months", "compare_baselines", {}),
        (
            "what is the cheapest way to train for $50? results within 2 days",
            "estimate_cost",
            {"constraints": {"budget_usd": 50.0, "deadline_hours": 48.0}},
        ),
    ],
)
def test_what_the_text_asks_for_stands_in_the_call_and_what_it_complains_of_does_not(text, tool, asked):
    plan = triage_constraint(TriageConstraintRequest(text=text)).plan
    call = next(step for step in plan if step.tool == tool)
    assert {name: value for name, value in call.arguments.items() if name != "models"} == asked


def test_without_a_gpu_series_get_models_that_need_none_first():
    plan = triage_constraint(
        TriageConstraintRequest(text="No GPU here, we forecast the demand of 500 shops")
    ).plan
    assert [step.remedy for step in plan[:3]] == ["lightgbm_baseline", "dlinear", "nhits"]


def test_a_slow_job_without_a_gpu_gets_no_remedy_that_needs_one():
    report = triage_constraint(
        TriageConstraintRequest(text="There is no GPU here and training takes three days")
    )
    assert (report.constraint, report.secondary) == ("compute_time", ["no_gpu"])
    remedies = [step.remedy for step in report.plan]
    assert remedies[0] == "cpu_threads" and "mixed_precision" not in remedies


CURT = {
    "gpu_memory": "only 10 gigs on the card and the 13B is already 26",
    "host_memory": "pandas merge makes the laptop swap until the kernel is gone",
    "disk": "the volume is full of old checkpoints again",
    "compute_time": "BERT pretraining would take a month here",
    "inference_latency": "visitors wait four seconds for each recommendation",
    "training_data": "nineteen labelled X-rays is all the clinic has",
    "budget": "the A100 endpoint idles at night and we pay for it",
    "no_gpu": "only an Intel notebook, can I still fine-tune",
    "edge": "keyword spotter has to live in 256 KB of flash",
    "network": "eight nodes train no faster than two",
    "not_a_resource_problem": "loss turns NaN right after the first epoch",
    "out_of_scope": "explain dropout to a beginner",
}


@pytest.mark.parametrize(("constraint", "text"), CURT.items())
def test_a_curt_request_is_read_by_its_words(constraint: str, text: str) -> None:
    report = triage(text)
    assert report.constraint == constraint and 0.3 < report.confidence < 1
    assert report.evidence and all(piece.quote in text for piece in report.evidence)


def test_words_never_outweigh_a_raised_error_and_silence_is_a_question() -> None:
    raised = triage(
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB. visitors wait, the bill is too high"
    )
    assert raised.constraint == "gpu_memory" and not any(
        "learned" in piece.shows for piece in raised.evidence
    )
    learned = triage("visitors wait four seconds for each recommendation").evidence
    assert any("learned, not a rule" in piece.shows for piece in learned)
    silent = triage("our model is from last spring")
    assert (silent.constraint, silent.sub_cause, silent.handoff) == ("out_of_scope", None, None)
    assert "what runs short" in str(silent.decisive_check)


def test_every_call_of_every_plan_is_accepted_by_the_tool_it_names():
    """Triage imports no tool; here each remedy's call, completed by what it says it needs, meets the tool's Request."""
    tools = load_tools()
    supplied = {
        "path": "train.py",
        "step": "s.py:make_step",
        "model": "m.onnx",
        "data": "d.npz",
        "loss": "mse",
        "train_data": "t.npz",
        "command": ["python"],
        "target": "s.py:f",
        "horizon": 1,
        "max_size_bytes": 1,
        "device_profile": "raspberry_pi_4",
        "workload": {"kind": "training", "hours": 1.0},
    }
    called = 0
    for constraint, cause in ORDER:
        for remedy in ORDER[constraint, cause]:
            row = BY_ID[remedy]
            if row.tool in tools:
                needs = {need.split(":")[0]: supplied[need.split(":")[0]] for need in row.needs}
                tools[row.tool].request.model_validate({**row.arguments, **needs})
                called += 1
    for calls in PREPARE.values():
        for name, arguments, wanted in calls:
            if name in tools:
                needs = {need.split(":")[0]: supplied[need.split(":")[0]] for need in wanted}
                tools[name].request.model_validate({**arguments, **needs})
    assert called


def test_a_script_with_make_step_is_predicted_without_further_questions(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("def make_step(batch_size=8):\n    ...\n", encoding="utf-8")
    report = triage(oom("2.00 GiB", 24.0, 0.5, 22.0, 0.2), script_path=str(script))
    predict = next(call for call in report.baseline if call.tool == "estimate_memory")
    assert predict.arguments["step"] == f"{script}:make_step"
    assert predict.arguments["gpu"] == "24GiB"
    assert not predict.needs


def test_every_ordered_remedy_is_in_the_table_and_every_remedy_in_an_order():
    ordered = {remedy for ids in ORDER.values() for remedy in ids}
    assert ordered == set(BY_ID)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "Nothing says what went wrong"),
        ({"text": "  "}, "Nothing says what went wrong"),
        ({"log_path": "missing.log"}, "No such file"),
        ({"log_path": "."}, "A file is wanted"),
    ],
)
def test_bad_input_gets_one_clear_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError, match=re.escape(words)) as refusal:
        triage(**arguments)
    assert "\n" not in str(refusal.value)


def test_a_binary_log_is_refused_and_an_unknown_argument_named(tmp_path):
    binary = tmp_path / "model.log"
    binary.write_bytes(b"\x7fELF\x00\x01")
    with pytest.raises(ToolError, match="binary"):
        triage(log_path=str(binary))
    with pytest.raises(ValidationError, match="logpath"):
        triage("x", logpath="y")


def test_the_report_is_small_and_its_brief_stands_alone(tmp_path):
    report = triage(oom("0.50 GiB", 24.0, 0.3, 22.0, 0.9) * 3)
    assert len(json.dumps(report.model_dump(mode="json"))) < 6000
    assert len(report.brief()) <= 1500
    assert "gpu_memory" in report.brief() and "mixed_precision" in report.brief()


@pytest.mark.parametrize(
    "junk", ["", "\x00\ufffd", "🙂" * 5000, "a" * 300_000, "\r\r\n\n", "{" * 2000, "0 " * 5000]
)
def test_any_text_gets_an_answer(junk, tmp_path):
    report = triage("x" + junk)
    assert 0 <= report.confidence <= 1


@pytest.mark.parametrize("figure", ["1..09", "1,234,56", "9" * 5000, ".,5", "1.2.3"])
def test_a_figure_that_is_none_is_passed_over(figure):
    text = f"CUDA out of memory. Tried to allocate {figure} GiB (GPU 0). overflowed by {figure} bytes, {figure} samples"
    report = triage_constraint(TriageConstraintRequest(text=text))
    assert report.constraint == "gpu_memory"
    assert all(math.isfinite(value) for value in report.numbers.values())
