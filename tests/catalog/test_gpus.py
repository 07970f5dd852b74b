"""The GPU catalog: integrity of every row, and what names are understood."""

import datetime

import pytest
from optimizing_resources.tools._catalog.gpus import candidates, find_gpu, gpus, native_formats
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.quantity import GIB

ROWS = list(gpus().values())
NVIDIA = [row for row in ROWS if row.vendor == "nvidia"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_dated_sourced_and_plausible(row):
    assert row.source and datetime.date.fromisoformat(row.as_of)
    assert 2 * GIB <= row.memory_bytes <= 512 * GIB
    assert row.bandwidth_bytes_per_second is None or 20e9 <= row.bandwidth_bytes_per_second <= 20e12
    assert 2012 <= row.year <= datetime.date.fromisoformat(row.as_of).year
    assert row.native <= {"fp16", "bf16", "int8", "fp8"}
    rates = {"fp16": row.fp16_tflops, "bf16": row.bf16_tflops, "int8": row.int8_tops, "fp8": row.fp8_tflops}
    assert {name for name, rate in rates.items() if rate} <= row.native
    assert not (row.fp16_tflops and row.bf16_tflops) or row.bf16_tflops <= row.fp16_tflops
    assert (row.reported_bytes is None) == (row.reported_source is None) == (row.reported_by is None)
    assert row.reported_bytes is None or 0.9 * row.memory_bytes <= row.reported_bytes <= row.memory_bytes


@pytest.mark.parametrize("row", NVIDIA, ids=lambda row: row.name)
def test_native_formats_of_nvidia_rows_follow_their_compute_capability(row):
    assert row.native == native_formats(row.compute_capability)


DENSE = {
    "A100-80GB": 312,
    "H100": 989.4,
    "L40S": 362,
    "A10": 125,
    "RTX4090": 165.2,
    "L4": 121,
}  # NVIDIA's data sheets


@pytest.mark.parametrize("name", DENSE)
def test_tensor_rates_are_the_dense_half_of_the_headline(name):
    assert gpus()[name].bf16_tflops == DENSE[name]


@pytest.mark.parametrize("row", [row for row in NVIDIA if row.bf16_tflops], ids=lambda row: row.name)
def test_tensor_rates_keep_the_ratios_of_their_architecture(row):
    """From Ampere on fp16 = bf16 = 2 tf32; int8 is twice that, four times where fp32 accumulation is halved."""
    assert row.fp16_tflops == row.bf16_tflops
    assert row.tf32_tflops is None or row.bf16_tflops / row.tf32_tflops == pytest.approx(2, rel=0.05)
    assert row.int8_tops is None or any(
        row.int8_tops / row.bf16_tflops == pytest.approx(ratio, rel=0.02) for ratio in (2, 4)
    )
    assert row.fp8_tflops is None or row.fp8_tflops / row.bf16_tflops == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_catalog_name_finds_its_own_row(row):
    assert find_gpu(row.name) is row
    for spelling in row.also:
        assert row in candidates(spelling)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("A100 80GB", "A100-80GB"),
        ("a100 (80 GB)", "A100-80GB"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("rtx 4090", "RTX4090"),
        ("4090", "RTX4090"),
        ("RTX 4070 Ti Super", "RTX4070-Ti-SUPER"),
        ("rtx4070ti", "RTX4070-Ti"),
        ("RTX 4080", "RTX4080"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("h100 80gb", "H100"),
        ("h100 pcie", "H100-PCIe"),
        ("RTX A6000", "A6000"),
        ("V100", "V100"),
        ("h100", "H100"),
        ("RTX 6000 Ada", "RTX6000-Ada"),
        ("quadro rtx 6000", "Quadro-RTX-6000"),
        ("jetson orin nano 8gb", "Jetson-Orin-Nano-8GB"),
        ("V100 32GB", "V100-32GB"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_forgiving_spellings_find_the_row(spelling, name):
    assert find_gpu(spelling).name == name


@pytest.mark.parametrize("spelling", ["a100", "v100", "NVIDIA GeForce RTX 3060", "rtx 3060", "4060 Ti"])
def test_a_name_of_several_models_is_declined_with_the_candidates(spelling):
    with pytest.raises(ToolError, match=r"several models.*try one of .*, "):
        find_gpu(spelling)


def test_the_memory_a_driver_reports_decides_between_models_of_one_name():
    assert find_gpu("NVIDIA GeForce RTX 3060", 12288 * 1024**2).name == "RTX3060"
    assert find_gpu("NVIDIA GeForce RTX 3060", 8192 * 1024**2).name == "RTX3060-8GB"
    assert find_gpu("Tesla T4", 15360 * 1024**2).name == "T4"


@pytest.mark.parametrize(
    "spelling",
    [
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "rtx 6000",
        "orin",
        "RTX 9999",
        "A100 24GB",
        "24GiB",
        "",
        "nvidia",
        "NVIDIA GeForce RTX 4090 D",
    ],
)
def test_what_no_row_describes_is_refused_with_the_nearest_names(spelling):
    with pytest.raises(ToolError, match=r"No such GPU.*try one of"):
        find_gpu(spelling)


def test_a_misspelt_name_is_answered_with_its_neighbours():
    with pytest.raises(ToolError, match="RTX4090"):
        find_gpu("RTX 4091")
