"""What the weighing of a forward pass comes to."""

import ast
from dataclasses import dataclass, field

from ..names import Function
from .full import Full
from .probabilities import Probabilities
from .remote import Place


@dataclass
class Verdict:
    """Reasons that rule fp16 out, the same for bf16, and the BCE calls that need an fp32 island."""

    probabilities: Probabilities
    no_fp16: list[tuple[int, str, str]] = field(default_factory=list)
    no_bf16: list[tuple[int, str, str]] = field(default_factory=list)
    islands: list[ast.Call] = field(default_factory=list)
    functions: list[Function] = field(
        default_factory=list
    )  # forward and backward of autograd.Functions, in turn
    functions_elsewhere: list[tuple[int, Place]] = field(
        default_factory=list
    )  # line and class of others' ones
    full: Full = field(default_factory=Full)
    uncached: bool = False  # layers run without gradients in a region: their half weights must not be kept
    ratios: list[int] = field(default_factory=list)  # lines that compare new probabilities with older ones
    puts: list[ast.Assign] = field(
        default_factory=list
    )  # by mask or index, of a value that autocast makes half
    replicas: int | None = None  # the line that leads to threads which bf16 reaches by a hook alone
