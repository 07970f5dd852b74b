"""No usable GPU, and devices at the edge."""

from ..clues import FINAL, LIKELY, STRONG, WEAK, Message

MESSAGES = (
    Message(
        "no_gpu",
        "checkpoint_map_location",
        FINAL,
        ("deserialize object on",),
        r"attempting to deserialize object on (?:a )?cuda",
        "the checkpoint was saved on a GPU and is loaded without one",
    ),
    Message(
        "no_gpu",
        None,
        FINAL,
        (
            "not compiled with cuda",
            "without cuda",
            "cpu-only build",
            "cpuonly",
            "not built with cuda",
            "not compiled with gpu",
            "cuda enabled",
            "requires cuda",
        ),
        (
            r"pinned memory requires cuda|not (?:been )?(?:compiled|built) with (?:cuda|gpu|cudnn)"
            r"|compiled without (?:cuda|gpu)|not installed with cuda"
        ),
        "the framework was built without CUDA",
    ),
    Message(
        "no_gpu",
        "no_device",
        FINAL,
        (
            "no cuda-capable device",
            "no cuda gpus",
            "found no nvidia driver",
            "no gpu found",
            "no gpu detected",
            "cuda is not available",
            "no cuda device",
            "cuda unavailable",
            "cudagetdevicecount",
            "no device",
            "no nvidia",
        ),
        r"no cuda[- ]capable device|no cuda gpus? (?:are|is) available|no gpus? (?:found|detected|"
        r"available)|found no nvidia driver"
        r"|cuda (?:is )?(?:not available|unavailable)|no cuda devices?|cudaerrornodevice|no nvidia (?:gpu|"
        r"driver|card|device)"
        r"|cudagetdevicecount(?:\(\))? (?:failed|returned)",
        "no CUDA device was found",
    ),
    Message(
        "no_gpu",
        "driver_or_visibility",
        STRONG,
        (
            "is_available",
            "failed call to cuinit",
            "cuda_error_no_device",
            "could not find cuda drivers",
            "libcuda",
            "not find device",
        ),
        r"is_available\(\)[\s\S]{0,40}(?:false|returns? (?:a )?false)|failed call to cuinit|could not "
        r"find cuda drivers"
        r"|nvidia-smi has failed|couldn't communicate with the nvidia driver",
        "the framework does not see the GPU",
    ),
    Message(
        "edge",
        "size_limit",
        FINAL,
        ("will not fit in region", "overflowed by", "overflow by"),
        r"will not fit in region|region [`'\"]?\w+['\"`]? overflowed by [\d,]+ bytes",
        "the linker could not place the image in the device's memory",
    ),
    Message(
        "edge",
        "device_memory",
        FINAL,
        ("failed to resize buffer", "allocatetensors", "tensor arena", "arena size", "tensor_arena", "arena"),
        r"failed to resize buffer|allocatetensors(?:\(\))? failed|allocate_tensors_fail|"
        r"(?:tensor[ _])?arena (?:is )?(?:too small|size)"
        r"|kTensorArenaSize".lower(),
        "the tensor arena of the microcontroller runtime is too small",
    ),
    Message(
        "edge",
        None,
        WEAK,
        (
            "jetson",
            "raspberry",
            "arduino",
            "esp32",
            "stm32",
            "nrf52",
            "coral",
            "edgetpu",
            "edge tpu",
            "tflite micro",
            "microcontroller",
            "rk3588",
            "k210",
            "myriad",
            "xavier",
            "orin",
        ),
        r"(?<![\w/.-])(?:jetson|raspberry ?pi|arduino|esp32|stm32|nrf52|coral|edge ?tpu|tflite[- ]micro|tflm"
        r"|microcontroller|rk35\d\d|k210|myriad|ncs2|cortex-m\d*|openmv)(?!\w*[_/])",
        "an edge device is named",
    ),
    Message(
        "edge",
        "conversion",
        STRONG,
        ("tflite", "coreml", "onnx", "tensorrt", "trt"),
        r"(?:op(?:erator)?s?|layer) [^\n]{0,60}(?:not supported|unsupported)[^\n]{0,60}(?:tflite|coreml|"
        r"edge ?tpu|tensorrt|nnapi)"
        r"|didn'?t find op for builtin opcode|edgetpu[- _]?(?:compiler)?[^\n]{0,60}(?:not mapped|unsupported)",
        "the model does not convert for the device",
    ),
    Message(
        "compute_time",
        "walltime_limit",
        FINAL,
        ("due to time limit", "time limit", "walltime", "term_runlimit", "after"),
        r"cancelled at[^\n]{0,60}due to time limit|(?:job|run|training)[^\n]{0,20} (?:killed|cancelled|"
        r"stopped|terminated)[^\n]{0,30}after \d+ ?(?:h\b|hours)|due to time limit|(?:walltime|wall time|"
        r"wall "
        r"clock)[^\n]{0,40}(?:exceeded|limit|exceed)"
        r"|term_runlimit|exceeded (?:the )?(?:max\w* )?(?:run ?time|wall ?time|time) limit|\btimeout\b 0:0",
        "the scheduler ended the job at its time limit",
    ),
    Message(
        "compute_time",
        "data_loader_bound",
        LIKELY,
        ("input-bound", "input bound", "your input pipeline", "bottleneck", "dataloader"),
        r"input[- ]bound|input pipeline (?:is )?(?:slow|bottleneck)|does not have many workers which may "
        r"be a bottleneck"
        r"|(?:data ?loader|data loading)[^\n.]{0,40}(?:bottleneck|slow|stuck|blocked|too long|takes)",
        "loading data is the bottleneck",
    ),
    Message(
        "inference_latency",
        "timeout",
        LIKELY,
        ("timed out", "timeout", "time-out", "504"),
        r"(?:invocation|inference|prediction|endpoint|request|worker|model)[^\n]{0,80}(?:timed out|time[- ]?out)"
        r"|(?:timed out|time[- ]?out)[^\n]{0,80}(?:invocation|inference|prediction|endpoint|response "
        r"from)|504 gateway",
        "a request was not answered in time",
    ),
)
