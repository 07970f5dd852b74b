"""detect_hardware on recorded trees and environments, and on the machine at hand."""

import json
import runpy
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from optimizing_resources.tools._core.contract import BRIEF_LIMIT, input_schema
from optimizing_resources.tools._core.machine import Machine
from optimizing_resources.tools._hardware import host, nvidia
from optimizing_resources.tools._hardware.cgroup import read_cgroup
from optimizing_resources.tools._hardware.other_gpus import read_apple, read_drm, read_jetson
from optimizing_resources.tools._hardware.recommend import recommend
from optimizing_resources.tools._hardware.scheduler import read_allocation, read_container
from optimizing_resources.tools._hardware.software import _reason, read_software
from optimizing_resources.tools._hardware.survey import survey
from optimizing_resources.tools._hardware.system import Notes, System
from optimizing_resources.tools.detect_hardware import (
    DetectHardwareReport,
    DetectHardwareRequest,
    detect_hardware,
)

GIB = 1024**3
NO_LIBRARY = {"error": "NVML Shared Library Not Found", "code": 12}
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "31 23 0:27 {root} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "32 23 0:28 {root} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture
def machine(tmp_path):
    """Build a System over a tree given as {path: text}."""

    def build(files=(), **facts) -> System:
        for path, text in dict(files).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        facts = {
            "environ": {},
            "platform": "linux",
            "architecture": "x86_64",
            "affinity": 64,
            "soft_limits": {},
            **facts,
        }
        return System(root=tmp_path, **facts)

    return build


def cpuinfo(logical=64, flags="avx2 avx512f avx512_vnni"):
    block = "processor\t: {i}\nmodel name\t: Xeon\nphysical id\t: 0\ncore id\t\t: {core}\nflags\t\t: fpu {flags}\n"
    return "\n".join(block.format(i=i, core=i % (logical // 2), flags=flags) for i in range(logical))


MEMINFO = (
    "MemTotal:       263000000 kB\nMemFree:  1000 kB\nMemAvailable:   200000000 kB\nSwapTotal:       0 kB\n"
)
PLAIN = {"proc/cpuinfo": cpuinfo(), "proc/meminfo": MEMINFO, "etc/os-release": 'PRETTY_NAME="Debian 12"\n'}


@pytest.fixture
def report(machine, tmp_path, monkeypatch):
    """The whole report on a tree, with a recorded reply of NVML and a disk of 100 GiB."""

    def build(files=(), nvml=NO_LIBRARY, disk_free_gib=50, **facts) -> DetectHardwareReport:
        space = types.SimpleNamespace(total=100 * GIB, free=disk_free_gib * GIB)
        monkeypatch.setattr(host.shutil, "disk_usage", lambda _: space)
        system = machine({**PLAIN, **dict(files)}, **facts)
        found = survey(system, Path(sys.executable), {"workspace": tmp_path}, lambda: nvml)
        return DetectHardwareReport(**dict(found))

    return build


# --- control groups ---------------------------------------------------------------------------------------------------


def test_nested_v2_groups_give_the_tightest_limit_of_any_ancestor(machine):
    found = read_cgroup(
        machine(
            {
                "proc/self/cgroup": "0::/kubepods/pod1/box\n",
                "proc/self/mountinfo": V2_MOUNT,
                "sys/fs/cgroup/kubepods/memory.max": "max\n",
                "sys/fs/cgroup/kubepods/pod1/memory.max": f"{8 * GIB}\n",
                "sys/fs/cgroup/kubepods/pod1/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/kubepods/pod1/memory.stat": f"anon 5\ninactive_file {GIB}\n",
                "sys/fs/cgroup/kubepods/pod1/box/memory.max": f"{16 * GIB}\n",
                "sys/fs/cgroup/kubepods/pod1/box/cpu.max": "max 100000\n",
                "sys/fs/cgroup/kubepods/cpu.max": "350000 100000\n",
            }
        )
    )
    assert (found.version, found.memory_bytes, found.cpu_cores) == (2, 8 * GIB, 3.5)
    assert found.memory_used_bytes == 2 * GIB  # without the idle page cache


def test_v2_inside_a_container_reads_the_mounted_root(machine):
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": V2_MOUNT,
        "sys/fs/cgroup/memory.max": "536870912\n",
    }
    assert read_cgroup(machine(files)).memory_bytes == GIB // 2


def test_v1_groups_whose_host_path_is_mounted_as_the_root(machine):
    found = read_cgroup(
        machine(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n",
                "proc/self/mountinfo": V1_MOUNTS.format(root="/docker/ab"),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            }
        )
    )
    assert (found.version, found.memory_bytes, found.cpu_cores) == (1, 4 * GIB, 1.5)


def test_v1_without_limits_reports_none(machine):
    found = read_cgroup(
        machine(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/\n",
                "proc/self/mountinfo": V1_MOUNTS.format(root="/"),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            }
        )
    )
    assert found.memory_bytes is None and found.cpu_cores is None


def test_quota_and_memory_limit_reach_the_report_with_their_sources(report):
    found = report(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
            "sys/fs/cgroup/cpu.max": "400000 100000\n",
        }
    )
    assert found.cpu.usable_cores == 4 and found.sources["cpu.usable_cores"] == "cgroup quota"
    assert (found.memory.limit_bytes, found.memory.usable_bytes) == (8 * GIB, 6 * GIB)
    assert found.recommended.threads == 4
    assert sum("Of 64 logical cores this process may use 4" in w for w in found.warnings) == 1


# --- schedulers and containers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {
                "SLURM_JOB_ID": "7",
                "SLURM_CPUS_PER_TASK": "6",
                "SLURM_MEM_PER_NODE": "32000",
                "SLURM_JOB_GPUS": "0,3",
            },
            ("slurm", 6, 32000 * 1024**2, 2),
        ),
        (
            {"SLURM_JOB_ID": "7", "SLURM_JOB_CPUS_PER_NODE": "16(x2)", "SLURM_MEM_PER_CPU": "2048"},
            ("slurm", 16, 16 * 2048 * 1024**2, None),
        ),
        (
            {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "8", "SLURM_MEM_PER_NODE": "0"},
            ("slurm", 8, None, None),
        ),
        ({"PBS_JOBID": "1.host", "NCPUS": "12"}, ("pbs", 12, None, None)),
        ({"LSB_JOBID": "9", "LSB_DJOB_NUMPROC": "4"}, ("lsf", 4, None, None)),
        ({"JOB_ID": "9"}, (None, None, None, None)),
    ],
)
def test_a_scheduler_job_is_read_from_its_documented_variables(machine, environ, expected):
    found = read_allocation(machine(environ=environ))
    assert (found.name, found.cpu_cores, found.memory_bytes, found.gpus) == expected


def test_a_granted_gpu_that_is_not_visible_is_a_warning(report):
    found = report(environ={"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "2"})
    assert found.cpu.usable_cores == 2
    assert any("slurm granted 1 GPU(s), but none is visible" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("files", "environ", "kind"),
    [
        ({".dockerenv": ""}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"proc/1/cgroup": "4:memory:/kubepods/burstable/pod1\n"}, {}, "kubernetes"),
        ({}, {"APPTAINER_CONTAINER": "/x.sif"}, "apptainer"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, {}, None),
    ],
)
def test_the_kind_of_container_is_told(machine, files, environ, kind):
    assert read_container(machine(files, environ=environ)) == kind


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


def device(index=0, name="NVIDIA A100-SXM4-80GB", total=80, free=70, cc=(8, 0), **changes):
    return {
        "index": index,
        "name": name,
        "uuid": f"GPU-{index}aaaaaaa-1111-2222-3333-444444444444",
        "memory": [total * GIB, free * GIB, (total - free) * GIB],
        "compute_capability": list(cc),
        "utilization": 5,
        "power_limit_milliwatts": 400_000,
        "throttle": 0,
        "ecc_errors": 0,
        "processes": [],
        "mig": False,
        "slices": [],
        **changes,
    }


def reply(*devices, cuda=12040):
    return {"init_seconds": 0.1, "driver": "550.54", "cuda": cuda, "devices": list(devices), "why": {}}


def mig_slice(name, number, gib):
    uuid = f"MIG-{number}bbbbbbb-1111-2222-3333-444444444444"
    return {
        "name": f"NVIDIA A100-SXM4-80GB MIG {name}",
        "uuid": uuid,
        "memory": [gib * GIB, gib * GIB, 0],
        "processes": [],
    }


MIG = device(mig=True, slices=[mig_slice("1g.10gb", 1, 10), mig_slice("3g.40gb", 2, 40)])


def test_a_gpu_is_named_by_the_catalog_and_its_uuid_is_shortened(report):
    (gpu,) = report(nvml=reply(device())).accelerators
    assert (gpu.catalog_name, gpu.compute_capability, gpu.supports_bf16) == ("A100-80GB", "8.0", True)
    assert gpu.uuid_short == "GPU-0aaaaaaa" and gpu.power_limit_watts == 400


def test_a_turing_card_is_never_offered_bf16(report):
    found = report(nvml=reply(device(name="Tesla T4", total=15, free=15, cc=(7, 5))))
    assert found.recommended.precision == "fp16" and found.accelerators[0].supports_bf16 is False
    assert report(nvml=reply(device())).recommended.precision == "bf16"
    gtx = device(name="NVIDIA GeForce GTX 1660 Ti", total=6, free=5, cc=(7, 5))  # Turing without tensor cores
    assert report(nvml=reply(gtx)).recommended.precision == "fp32"


def test_mig_slices_stand_in_for_their_gpu(report):
    parts = report(nvml=reply(MIG)).accelerators
    assert [(p.mig_profile, p.memory_bytes, p.is_mig_slice) for p in parts] == [
        ("1g.10gb", 10 * GIB, True),
        ("3g.40gb", 40 * GIB, True),
    ]
    assert {p.catalog_name for p in parts} == {"A100-80GB"}
    assert [p.is_visible for p in parts] == [True, False]  # CUDA shows a process one slice


def test_mig_mode_without_slices_leaves_no_usable_device(report):
    found = report(nvml=reply(device(mig=True)))
    assert not found.accelerators[0].is_visible
    assert any("MIG mode without a slice" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("wish", "visible"),
    [
        ("1", [False, True]),
        ("0,1", [True, True]),
        ("", [False, False]),
        ("-1", [False, False]),
        ("1,7,0", [False, True]),  # CUDA stops at the first entry it cannot match
        ("GPU-1aaa", [False, True]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(report, wish, visible):
    found = report(nvml=reply(device(0), device(1)), environ={"CUDA_VISIBLE_DEVICES": wish})
    assert [a.is_visible for a in found.accelerators] == visible
    assert found.limits.visible_devices == f"CUDA_VISIBLE_DEVICES={wish}"


def test_a_mig_uuid_makes_one_slice_visible(report):
    found = report(nvml=reply(MIG), environ={"CUDA_VISIBLE_DEVICES": MIG["slices"][1]["uuid"]})
    assert [a.is_visible for a in found.accelerators] == [False, True]


def test_unlike_gpus_chosen_by_number_are_warned_about(report):
    gpus = reply(device(0, name="Tesla T4", cc=(7, 5)), device(1))
    assert any("PCI_BUS_ID" in w for w in report(nvml=gpus, environ={"CUDA_VISIBLE_DEVICES": "0"}).warnings)
    fixed = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert not any("PCI_BUS_ID" in w for w in report(nvml=gpus, environ=fixed).warnings)


def test_troubles_of_a_gpu_are_warnings(report):
    sick = device(throttle=0x40 | 0x04 | 0x01, ecc_errors=3, processes=[[99999999, 20 * GIB]])
    warnings = "\n".join(report(nvml=reply(sick)).warnings)
    assert "hardware thermal slowdown" in warnings and "power cap" not in warnings
    assert "3 uncorrected memory errors" in warnings and "hold 20.0 GiB" in warnings


def test_memory_held_by_processes_nobody_can_see_is_a_warning(report):
    found = report(nvml=reply(device(free=40)), files={".dockerenv": ""})
    assert any("40.0 GiB is taken by processes that cannot be seen" in w for w in found.warnings)


def test_a_lost_gpu_does_not_take_its_neighbour_along(report):
    found = report(nvml=reply({"index": 0, "error": "GPU is lost"}, device(1)))
    assert [a.index for a in found.accelerators] == [1]
    assert any("GPU 0 cannot be used: GPU is lost" in w for w in found.warnings)


@pytest.mark.parametrize(("code", "words"), [(18, "reboot"), (999, "unknown error"), ("stuck", "hangs")])
def test_an_nvml_that_fails_is_a_finding(report, code, words):
    found = report(nvml={"error": "the driver hangs", "code": code})
    assert found.accelerators == [] and words in found.missing["accelerators.nvidia"]
    assert any(words in w for w in found.warnings)


def test_a_plain_machine_without_nvidia_gets_no_warning(report):
    found = report()
    assert found.warnings == [] and "no NVIDIA driver" in found.missing["accelerators.nvidia"]


def test_a_disk_that_is_nearly_full_is_a_warning(report):
    assert any("Under 5 % of the disk" in w and "(4.0 GiB)" in w for w in report(disk_free_gib=4).warnings)


def test_a_card_on_the_bus_without_a_driver_is_a_warning(report):
    found = report(
        {"sys/bus/pci/devices/01/vendor": "0x10de\n", "sys/bus/pci/devices/01/class": "0x030200\n"}
    )
    assert any("1 NVIDIA GPU(s) on the PCI bus, but" in w for w in found.warnings)


def test_a_probe_that_hangs_is_abandoned_in_time(tmp_path, monkeypatch):
    hanging = tmp_path / "probe.py"
    hanging.write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setattr(nvidia, "_PROBE", hanging)
    started = time.monotonic()
    assert nvidia.ask_nvml(seconds=0.3)["code"] == "stuck"
    assert time.monotonic() - started < 5


def test_a_probe_that_crashes_is_a_finding(tmp_path, monkeypatch):
    crashing = tmp_path / "probe.py"
    crashing.write_text("import os; os.abort()", encoding="utf-8")
    monkeypatch.setattr(nvidia, "_PROBE", crashing)
    assert "exit code" in nvidia.ask_nvml()["error"]


class FakeNvml(types.SimpleNamespace):
    """A recorded NVML: what is not listed is not supported, as on a GeForce card."""

    class NVMLError(Exception):
        value = 3

    def __getattr__(self, name):
        def unsupported(*arguments):
            raise self.NVMLError("Not Supported")

        return unsupported


def probe():
    folder = Path(nvidia.__file__).parent
    return runpy.run_path(str(folder / "nvml_probe.py"), run_name="probe")["read"]


def test_the_probe_keeps_what_a_card_offers_and_says_what_it_does_not():
    nvml = FakeNvml(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlSystemGetDriverVersion=lambda: b"550.54",
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=lambda h: "NVIDIA GeForce RTX 4090",
        nvmlDeviceGetMemoryInfo=lambda h: types.SimpleNamespace(total=24, free=20, used=4),
    )
    found = json.loads(json.dumps(probe()(nvml)))
    assert found["driver"] == "550.54" and found["devices"][0]["memory"] == [24, 20, 4]
    assert found["devices"][0]["ecc_errors"] is None and found["why"]["0.ecc_errors"] == "Not Supported"
    assert (
        nvidia.read_nvidia(System(environ={}), False, Notes(), lambda: found)[0][0].catalog_name is None
    )  # 24 bytes


def test_the_probe_answers_when_nvml_does_not_start():
    assert probe()(FakeNvml())["code"] == 3


# --- other accelerators -----------------------------------------------------------------------------------------------

MI300X = {
    "sys/class/drm/card1/device/vendor": "0x1002\n",
    "sys/class/drm/card1/device/device": "0x74a1\n",
    "sys/class/drm/card1/device/mem_info_vram_total": f"{192 * GIB}\n",
    "sys/class/drm/card1/device/mem_info_vram_used": f"{GIB}\n",
    "sys/class/drm/card1/device/gpu_busy_percent": "7\n",
    "sys/class/drm/card1/device/hwmon/hwmon3/power1_cap": "750000000\n",
    "sys/class/drm/card1-DP-1/status": "disconnected\n",
    "sys/class/kfd/kfd/topology/nodes/0/properties": "gfx_target_version 0\n",
    "sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 1216\ngfx_target_version 90402\n",
}


def test_an_amd_gpu_is_read_from_sysfs(machine):
    (gpu,) = read_drm(machine(MI300X), Notes())
    assert (gpu.vendor, gpu.catalog_name, gpu.compute_capability, gpu.supports_bf16) == (
        "amd",
        "MI300X",
        "gfx942",
        True,
    )
    assert (gpu.free_bytes, gpu.power_limit_watts, gpu.utilization_percent) == (191 * GIB, 750, 7)


def test_the_variable_that_hides_an_amd_gpu_is_quoted(machine):
    system = machine(MI300X, environ={"HIP_VISIBLE_DEVICES": "1"})
    seen = {"frameworks": {"torch": "2.13.0"}, "torch_hip_version": "6.2"}
    reason = _reason(system, seen, read_drm(system, Notes()), None, NO_LIBRARY)
    assert reason == "hidden by the environment: HIP_VISIBLE_DEVICES='1'"


def test_hip_visible_devices_hides_an_amd_gpu(machine):
    notes = Notes()
    (gpu,) = read_drm(machine(MI300X, environ={"HIP_VISIBLE_DEVICES": "1"}), notes)
    assert not gpu.is_visible and any("hides every AMD GPU" in w for w in notes.warnings)


def test_integrated_graphics_is_no_accelerator_but_a_discrete_card_is(machine):
    card = "sys/class/drm/card{}/device/"
    files = {card.format(0) + "vendor": "0x8086\n", card.format(0) + "device": "0x4680\n"}
    files |= {card.format(1) + "vendor": "0x8086\n", card.format(1) + "device": "0x56a0\n"}
    files |= {"sys/class/drm/card1/lmem_total_bytes": f"{16 * GIB}\n"}
    notes = Notes()
    (gpu,) = read_drm(machine(files), notes)
    assert gpu.catalog_name == "Arc-A770" and "integrated" in notes.missing["accelerators.intel"]


def test_a_jetson_shares_the_memory_of_its_host(machine):
    model = {"proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\x00", "proc/meminfo": MEMINFO}
    (gpu,) = read_jetson(machine(model), Notes())
    assert (
        gpu.is_unified_memory
        and gpu.name == "NVIDIA Jetson Orin Nano"
        and gpu.memory_bytes == 263000000 * 1024
    )


MAC = {
    "machdep.cpu.brand_string": "Apple M2 Pro",
    "hw.memsize": str(32 * GIB),
    "hw.physicalcpu": "10",
    "hw.logicalcpu": "10",
    "hw.optional.arm.FEAT_BF16": "1",
    "hw.optional.arm.FEAT_I8MM": "1",
}


def test_apple_silicon_has_one_gpu_with_unified_memory(report, machine):
    facts = {"platform": "darwin", "architecture": "arm64", "affinity": None}
    (gpu,) = read_apple(machine(**facts, output_of=lambda command: MAC.get(command[-1])), Notes())
    assert (gpu.name, gpu.memory_bytes, gpu.is_unified_memory) == ("Apple M2 Pro GPU", 32 * GIB, True)
    found = report(**facts, output_of=lambda command: MAC.get(command[-1]))
    assert found.cpu.physical_cores == 10 and {"bf16", "i8mm", "asimd"} <= set(found.cpu.isa)
    assert found.memory.total_bytes == 32 * GIB and found.memory.shm_bytes is None


def test_windows_reports_what_it_can_and_says_what_it_cannot(report):
    facts = {"platform": "win32", "affinity": None, "environ": {"PROCESSOR_IDENTIFIER": "Intel64 Family 6"}}
    found = report(**facts, output_of=lambda command: None)
    assert found.cpu.model == "Intel64 Family 6" and found.cpu.usable_cores
    assert {"cpu.isa", "memory.shm_bytes", "limits.cgroup_version", "limits.affinity_cores"} <= set(
        found.missing
    )


# --- software ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "nvml", "environ", "words"),
    [
        ({"torch_cuda_version": "12.8"}, NO_LIBRARY, {}, "no device"),
        ({"torch_cuda_version": None}, reply(device()), {}, "wrong build"),
        ({"torch_cuda_version": None}, {"error": "hangs", "code": "stuck"}, {}, "wrong build"),
        ({"torch_cuda_version": "12.8"}, {"error": "hangs", "code": "stuck"}, {}, None),
        ({"torch_hip_version": "6.2"}, reply(device()), {}, "wrong build"),
        ({"torch_cuda_version": "12.8"}, reply(device(), cuda=11040), {}, "driver too old"),
        (
            {"torch_cuda_version": "12.8"},
            reply(device()),
            {"CUDA_VISIBLE_DEVICES": ""},
            "hidden by the environment: CUDA_VISIBLE_DEVICES=''",
        ),
        ({"torch_cuda_version": "12.8"}, reply(device(mig=True)), {}, "no device: MIG mode"),
        (
            {"torch_cuda_version": "12.8"},
            reply(device()),
            {},
            None,
        ),  # 12.4 runs 12.8: minor versions are compatible
    ],
)
def test_the_reason_why_cuda_is_not_available(machine, build, nvml, environ, words):
    system, notes = machine(environ=environ), Notes()
    found, raw = nvidia.read_nvidia(system, False, notes, lambda: nvml)
    seen = {"frameworks": {"torch": "2.13.0"}, **build}
    driver = f"{raw['cuda'] // 1000}.{raw['cuda'] % 1000 // 10}" if raw.get("cuda") else None
    reason = _reason(system, seen, found, driver, raw)
    assert reason is None if words is None else reason.startswith(words)


@pytest.fixture
def fake_environment(tmp_path):
    """An interpreter whose torch is a stub that says what it is told."""

    def build(cuda="'12.8'", init="") -> Path:
        import venv

        folder = tmp_path / "env"
        venv.create(folder, symlinks=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "torch").mkdir()
        (site / "torch/__init__.py").write_text(init, encoding="utf-8")
        (site / "torch/version.py").write_text(f"cuda: str = {cuda}\nhip = None\n", encoding="utf-8")
        (site / "torch-2.7.0.dist-info").mkdir()
        (site / "torch-2.7.0.dist-info/METADATA").write_text(
            "Name: torch\nVersion: 2.7.0+cu128\n", encoding="utf-8"
        )
        return folder / "bin/python"

    return build


TORCH = """
class cuda:
    is_available = lambda: True
    device_count = lambda: 1
    get_arch_list = lambda: {arch}
"""


def test_torch_is_asked_only_where_a_gpu_is_visible(machine, fake_environment):
    python = fake_environment(init="raise RuntimeError('imported')")
    notes = Notes()
    found = read_software(machine(), python, [], NO_LIBRARY, notes)
    assert (found.torch_version, found.torch_cuda_version) == ("2.7.0+cu128", "12.8")
    assert found.cuda_available is False and found.cuda_unavailable_reason.startswith("no device")
    gpus, raw = nvidia.read_nvidia(machine(), False, notes, lambda: reply(device()))
    found = read_software(machine(), python, gpus, raw, notes)
    assert found.cuda_available is False and found.cuda_unavailable_reason == "RuntimeError: imported"


def test_a_build_without_code_for_the_card_is_a_warning(machine, fake_environment):
    python, notes = fake_environment(init=TORCH.format(arch="['sm_80', 'sm_90']")), Notes()
    gpus, raw = nvidia.read_nvidia(
        machine(), False, notes, lambda: reply(device(name="NVIDIA B200", cc=(10, 0)))
    )
    found = read_software(machine(), python, gpus, raw, notes)
    assert found.cuda_available and any("no code for NVIDIA B200 (sm_100" in w for w in notes.warnings)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_report_is_a_machine_and_its_texts_stand_alone(report):
    found = report(nvml=reply(device(0), device(1)), files=MI300X)
    again = Machine.model_validate(json.loads(found.model_dump_json()))
    assert again.accelerators == found.accelerators and again.cpu == found.cpu
    assert len(found.brief()) <= BRIEF_LIMIT and "80.00 GiB" in found.brief() and "bf16" in found.brief()
    assert "Accelerators\n" in found.readable()


def test_the_machine_at_hand_is_read_within_its_time_and_names_nobody():
    found = detect_hardware(DetectHardwareRequest())
    assert found.cpu.usable_cores >= 1 and found.memory.usable_bytes > 0 and found.disk
    node = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout.strip()
    assert node not in found.model_dump_json() or len(node) < 5  # a short name may be part of any word


def test_recommended_workers_fit_into_shared_memory(report):
    found = report()
    small = recommend(found.cpu, found.memory.model_copy(update={"shm_bytes": 64 * 1024**2}), [])
    assert small.dataloader_workers == 0 and found.recommended.dataloader_workers > 0


def test_the_menu_entry_is_short():
    tool = detect_hardware.tool
    size = (
        len(tool.name)
        + len(tool.summary)
        + len(json.dumps(input_schema(tool.request), separators=(",", ":")))
    )
    assert size <= 1250
