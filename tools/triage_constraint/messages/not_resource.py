"""Errors that carry resource words but mean something else: bugs, builds, drivers, numerics, other programs."""

from ..clues import FINAL, LIKELY, STRONG, WEAK, Message

BUG = "not_a_resource_problem"
OUT = "out_of_scope"
OVER = FINAL + 3  # a real cause outranks the memory words that stand around it

MESSAGES = (
    Message(
        OUT,
        "service_limit",
        OVER + 8,
        (
            "quota",
            "service limit",
            "resourcelimitexceeded",
            "insufficientinstancecapacity",
            "service-level",
            "capacity",
        ),
        r"resourcelimitexceeded|(?:account|service)[- ]level (?:service )?limit|service (?:limit|quota)"
        r"|quota (?:increase|request|limit|exceeded for)|(?:tpu|gpu|cpu|instance)s?[- ]?(?:all[- ]regions )?quota"
        r"|insufficientinstancecapacity|insufficient (?:instance )?capacity|no capacity",
        "a cloud provider's limit on the account",
    ),
    Message(
        BUG,
        "bug_other",
        STRONG,
        ("already in use", "segfault"),
        r"address already in use|\bsegfault",
        "a port is taken, or native code crashed",
    ),
    Message(
        BUG,
        "device_side_assert",
        OVER,
        ("device-side assert", "device side assert", "runtime error (59)", "runtime error (710)"),
        r"device[- ]side assert|cuda runtime error \((?:59|710)\)|cuda error ?\(?(?:59|710)\)?",
        "an index or label is out of range on the GPU",
    ),
    Message(
        BUG,
        "illegal_memory_access",
        OVER,
        (
            "illegal memory access",
            "error (77)",
            "error(77)",
            "error(700)",
            "error (700)",
            "misaligned address",
            "unspecified launch failure",
        ),
        (
            r"illegal memory access|cuda (?:runtime )?error ?\((?:77|700|4|719)\)|misaligned address|"
            r"unspecified launch failure"
        ),
        "a kernel touched memory it does not own",
    ),
    Message(
        BUG,
        "driver_mismatch",
        OVER + 4,
        (
            "driver version is insufficient",
            "driver too old",
            "driver on your system is too old",
            "driver/library version mismatch",
            "error (35)",
            "ptx",
            "unsupported toolchain",
            "forward compatibility",
        ),
        r"driver version is insufficient|(?:nvidia )?driver (?:on your system )?is too old|driver/library "
        r"version mismatch|cuda runtime error \(35\)"
        r"|provided ptx was compiled with an unsupported toolchain|forward compatibility was attempted",
        "the driver is older than the CUDA runtime needs",
    ),
    Message(
        BUG,
        "wrong_torch_build",
        OVER,
        (
            "no kernel image",
            "not compatible with the current pytorch",
            "cuda capability sm_",
            "undefined symbol",
            "cudart",
            "libcublas",
            "libcudnn",
        ),
        r"no kernel image is available|not compatible with the current pytorch|undefined symbol|detected "
        r"cuda version[^\n]{0,60}mismatches"
        r"|(?:could not|cannot|failed to) (?:load|open)[^\n]{0,60}lib(?:cudart|cublas|cudnn|cusolver|cufft)",
        "the installed build does not match this GPU or CUDA",
    ),
    Message(
        BUG,
        "device_visibility",
        OVER + 4,
        ("is_available",),
        r"is_available\(\)[`'\" ]*(?:is |==|=|returns?|gives?|->|:)? ?true",
        "the author has seen that CUDA is available",
    ),
    Message(
        BUG,
        "device_visibility",
        OVER,
        ("invalid device ordinal", "invalid device id", "invalid device function"),
        r"invalid device (?:ordinal|id)|invalid device function",
        "the program names a device that is not visible",
    ),
    Message(
        BUG,
        "shape_mismatch",
        OVER,
        (
            "size mismatch",
            "shape mismatch",
            "mat1 and mat2",
            "must match the size",
            "shapes cannot be multiplied",
            "dimension out of range",
            "sizes of tensors must match",
            "incompatible shapes",
            "but got input of size",
            "expected input",
            "shape",
            "dimension",
        ),
        r"size mismatch|shapes? mismatch|mismatch in shape|mat1 and mat2|must match the size of tensor|"
        r"shapes? cannot be multiplied|dimension out of range"
        r"|sizes of tensors must match|incompatible shapes?|expected \d+d? (?:or \d+d? )?(?:\S+ "
        r")?(?:input|tensor)[^\n]{0,60}got|dimensions? (?:of \S+ )?must be equal"
        r"|expected (?:input|shape)[^\n]{0,80}(?:but got|to match target)|invalid for input of size"
        r"|could not be broadcast|cannot be broadcast|inhomogeneous shape|shapes? \([^)]*\) and \([^)]*\)",
        "tensor shapes do not fit together",
    ),
    Message(
        BUG,
        "nan_loss",
        OVER,
        ("nan", "loss = inf", "loss: inf", "loss is inf", "explod", "diverg", "blow"),
        r"loss[^\n]{0,12}(?:explod|diverg|blows? up)|loss[\s:=\w\"'`,]{0,24}\bnan\b|"
        r"\bnan\b[\s\w]{0,16}\bloss|had nan values|is nan\b|nan or inf|nan "
        r"in (?:summary|gradient)|\bnans?\b (?:values?|gradients?|weights?|outputs?)"
        r"|(?:returns?|produces?|gives?|outputs?|become\w*|turns? (?:in)?to|got|get|getting|变成|出现|为|是|都是) "
        r"?(?:all )?nan\b|loss[^\n]{0,20}(?:inf\b|为nan|nan)|nan during training",
        "the loss is not a number",
    ),
    Message(
        BUG,
        "build_error",
        OVER,
        (
            "failed building wheel",
            "error: command '",
            "nvcc fatal",
            "cmake error",
            "could not build wheels",
            "compilation terminated",
            "fatal error:",
            "cl.exe",
            "ninja: build stopped",
            "error compiling objects",
        ),
        (
            r"failed building wheel|could not build wheels|nvcc fatal|cmake error|compilation terminated|"
            r"ninja: build stopped|error compiling objects|command '[^']*(?:gcc|g\+\+|cl\.exe|nvcc)[^']*' "
            r"failed"
        ),
        "building an extension failed",
    ),
    Message(
        BUG,
        "import_error",
        STRONG + 4,
        ("modulenotfounderror", "importerror", "no module named", "cannot import name", "dll load failed"),
        r"modulenotfounderror|importerror|no module named|cannot import name|dll load failed",
        "a module cannot be imported",
    ),
    Message(
        BUG,
        "bug_other",
        STRONG,
        ("on the same device", "input type", "expected scalar type"),
        (
            r"expected all tensors to be on the same device|input type[^\n]{0,60}weight type|expected scalar "
            r"type|expected object of (?:device|scalar) type"
        ),
        "tensors differ in device or type",
    ),
    Message(
        BUG,
        "bug_other",
        WEAK + 2,
        ("error:", "error："),
        r"\b\w*error ?[:：]",
        "an error was raised",
    ),
    Message(
        BUG,
        "bug_other",
        LIKELY,
        ("error",),
        r"\b(?:typeerror|keyerror|attributeerror|valueerror|indexerror|nameerror|assertionerror|"
        r"syntaxerror|filenotfounderror|unicodedecodeerror"
        r"|zerodivisionerror|notimplementederror|unpicklingerror|eoferror|jsondecodeerror|"
        r"invalidargumenterror|unboundlocalerror|recursionerror|permissionerror)\b"
        r"(?=[:\s(])",
        "an exception that is no resource error",
    ),
    Message(
        BUG,
        "bug_other",
        LIKELY,
        (
            "ncclinvalidusage",
            "not_supported",
            "status_not_supported",
            "duplicate gpu",
            "mapping_error",
            "execution_failed",
            "bad_param",
        ),
        (
            r"ncclinvalidusage|(?:cudnn|cublas)_status_(?:not_supported|bad_param|mapping_error|"
            r"execution_failed|arch_mismatch)|duplicate gpu detected"
        ),
        "a library was used in a way it does not support",
    ),
    Message(
        BUG,
        "bug_other",
        STRONG,
        ("segmentation fault", "sigsegv", "core dumped", "access violation", "c0000005", "1073741819"),
        r"(?<!bus error \()segmentation fault|\bsigsegv\b|exit code 139|access violation|0xc0000005|-1073741819",
        "the process crashed in native code",
    ),
    Message(
        BUG,
        "teardown_noise",
        LIKELY,
        ("exception ignored in", "leaked semaphore"),
        r"exception ignored in[^\n]{0,80}__del__",
        "noise while the program shuts down",
    ),
    Message(
        OUT,
        "non_ml",
        OVER + 8,
        (
            "cc1plus",
            "ranlib",
            "javascript heap",
            "rustc",
            "collect2",
            "ld returned",
            "virtual memory exhausted",
            "fatal error: killed signal terminated program",
            "webpack",
            "c++: fatal",
            "g++: ",
        ),
        r"(?:cc1(?:plus)?|ranlib|rustc|collect2|\bld|g\+\+|c\+\+|clang|webpack)\b[^\n]{0,80}"
        r"(?:memory|killed|signal 9|signal: 9)"
        r"|killed signal terminated program|javascript heap out of memory|virtual memory exhausted",
        "a compiler or a JavaScript engine ran out of memory",
    ),
    Message(
        BUG,
        "bug_other",
        WEAK,
        ("traceback (most recent call last)", "exception"),
        r"traceback \(most recent call last\)|\bexception\b",
        "an exception was raised",
    ),
)
