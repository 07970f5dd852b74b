"""The lines at module level that hold the switch, the dtype and the scaler."""

from dataclasses import dataclass

from ..edits import indent_unit
from ..loops import Region
from ..script import Script
from .plan import Plan


@dataclass(frozen=True)
class Names:
    """What the settings are called in one script."""

    torch: str
    enabled: str
    dtype: str
    scaler: str
    hook: str


def settings_lines(script: Script, plan: Plan, regions: list[Region], names: Names) -> list[str]:
    """The lines below the comment, for the mode of the plan."""
    hook = _hook_lines(script, names) if plan.hooked else []
    return [*_chosen(script, plan, regions, names), *hook]


def _hook_lines(script: Script, names: Names) -> list[str]:
    """The hook on every module that tells DataParallel's threads the dtype."""
    unit, torch = indent_unit(script), names.torch
    return [
        "",
        "",
        f"def {names.hook}(module, inputs):",
        f'{unit}"""DataParallel\'s threads know that autocast is on, but not its dtype: each module tells them."""',
        f"{unit}import threading",
        "",
        f'{unit}if {torch}.is_autocast_enabled("cuda") and '
        "threading.current_thread() is not threading.main_thread():",
        f'{unit * 2}{torch}.set_autocast_dtype("cuda", {names.dtype})',
        "",
        "",
        f"{torch}.nn.modules.module.register_module_forward_pre_hook({names.hook})",
    ]


def _chosen(script: Script, plan: Plan, regions: list[Region], names: Names) -> list[str]:
    """The switch, the dtype and the scaler."""
    torch, on = names.torch, f"{names.enabled} = True"
    native = f"{torch}.cuda.is_bf16_supported(including_emulation=False)"
    if plan.mode == "auto":
        return [
            on,
            "# bf16 where the GPU computes in it (and on CPUs); older GPUs take fp16, which needs the scaler.",
            f"{names.dtype} = {torch}.bfloat16",
            f"if {torch}.cuda.is_available() and not {native}:",
            f"{indent_unit(script)}{names.dtype} = {torch}.float16",
            f'{names.scaler} = {torch}.amp.GradScaler("cuda", '
            f"enabled={names.enabled} and {names.dtype} == {torch}.float16)",
        ]
    if plan.mode == "fp16":
        device = _scaler_device(plan, regions)
        asks = plan.device.late and not plan.device.declared and plan.device.literal != "cpu"
        note = '# The scaler is told "cpu" because one for "cuda" starts CUDA at once; it works on the loss\'s device.'
        return [
            on,
            f"{names.dtype} = {torch}.float16",
            *([note] if asks else []),
            f"{names.scaler} = {torch}.amp.GradScaler({device}, enabled={names.enabled})",
        ]
    if plan.bf16_because and not plan.device.late:
        return [
            f"# bf16 only: {plan.bf16_because[2]}.",
            f"{names.enabled} = not {torch}.cuda.is_available() or {native}",
            f"{names.dtype} = {torch}.bfloat16",
        ]
    return [on, f"{names.dtype} = {torch}.bfloat16"]


def _scaler_device(plan: Plan, regions: list[Region]) -> str:
    """Where the scaler works: on the CPU too, if the script may run there; a scaler for CUDA alone would be off.

    One for "cuda" asks for a GPU when it is made, which starts CUDA. One for "cpu" does not, and takes its scale to
    the device of the loss all the same.
    """
    device = plan.device
    literal = f'"{device.literal}"'
    if device.late and not device.declared:
        return '"cpu"'
    if all(device.at(region.first) == literal for region in regions):
        return literal
    return device.name if device.declared else device.choice


_FLOAT32 = """

def {name}(function):
    # Runs a function outside of autocast, on fp32 in place of the half precision it is given.
    import functools

    def cast(value):
        if type(value) is list or isinstance(value, tuple):
            items = [cast(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, dict):
            kept = value.copy()
            for key in value:
                kept[key] = cast(value[key])
            return kept
        if type(value).__name__ in ("generator", "zip", "map", "enumerate"):
            return map(cast, value)
        half = {torch}.is_tensor(value) and value.dtype in ({torch}.bfloat16, {torch}.float16)
        return value.float() if half else value

    @functools.wraps(function)
    def run(*args, **kwargs):
        if not {enabled}:
            return function(*args, **kwargs)
        with {torch}.autocast(device_type={device}, enabled=False):
            return function(*cast(args), **cast(kwargs))

    return run

"""


def full_lines(torch: str, name: str, unit: str) -> list[str]:
    """The function that makes a half tensor fp32, and leaves all else as it is."""
    half = f"{torch}.is_tensor(value) and value.dtype in ({torch}.bfloat16, {torch}.float16)"
    return ["", "", f"def {name}(value):", f"{unit}return value.float() if {half} else value", ""]


def float32_lines(names: Names, name: str, device: str, unit: str) -> list[str]:
    """The decorator that runs a function in fp32."""
    text = _FLOAT32.format(name=name, torch=names.torch, enabled=names.enabled, device=device)
    return text.replace("    ", unit).split("\n")[:-1]
