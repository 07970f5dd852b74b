"""What a plan is fitted to: the verdict, and what is known of the machine, the script and the job."""

from dataclasses import dataclass

from .._core.machine import Machine
from .by_hand import ENGINE
from .frameworks import framework
from .kind import is_about_a_mac, is_served_by_an_engine
from .measured import Measured
from .numbers import Numbers
from .script import ScriptFacts

_CPU_WITH_BF16 = ("amx_bf16", "avx512_bf16", "bf16")  # x86 and ARM


@dataclass(frozen=True)
class Situation:
    """What a plan is fitted to: the verdict, the figures, and what is known of the machine and the script."""

    constraint: str
    sub_cause: str | None
    numbers: Numbers
    machine: Machine | None
    script: ScriptFacts | None
    lowered: str
    measured: Measured | None = None
    says_no_gpu: bool = False
    infers: bool = False  # it answers, and trains nothing

    @property
    def on_cpu(self) -> bool:
        """Whether the job runs on a CPU without units for 16-bit numbers, as far as text or machine say."""
        if self.machine is None or "accelerators" not in self.machine.model_fields_set:
            return self.says_no_gpu
        return not self.machine.accelerators and not set(_CPU_WITH_BF16) & set(self.machine.cpu.isa)

    @property
    def framework(self) -> str | None:
        """The script's framework, or else the text's, where it is not PyTorch."""
        return self.script.framework if self.script else framework(self.lowered)

    @property
    def slow_engine(self) -> bool:
        """Whether a serving engine for language models answers too slowly."""
        return self.constraint == "inference_latency" and is_served_by_an_engine(self.lowered)

    @property
    def hand_cause(self) -> str | None:
        """The cause under which by_hand.py keeps what takes a tool's place."""
        if self.slow_engine:
            return ENGINE
        on_a_mac = self.constraint == "compute_time" and is_about_a_mac(self.lowered)
        return "apple_silicon" if on_a_mac else self.sub_cause

    @property
    def step_on_cpu(self) -> bool:
        """Whether it was measured that a training step on the CPU fills host memory."""
        return self.constraint == "host_memory" and self.measured is not None and self.measured.step_on_cpu
