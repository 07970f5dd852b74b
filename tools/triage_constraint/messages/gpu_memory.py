"""What frameworks and drivers print when an accelerator's memory runs out."""

from ..clues import FINAL, LIKELY, STRONG, Message

GPU = "gpu_memory"

MESSAGES = (
    Message(
        GPU,
        None,
        FINAL,
        ("out of memory",),
        r"(?:cuda|hip|xpu|gpu|torch)\w*(?:\W+\w+){0,2}?[ :.]+out of memory|outofmemoryerror: (?:cuda|hip|xpu|mps)"
        r"|cudaerrormemoryallocation|cuda_error_out_of_memory(?!.{0,80}host)",
        "the accelerator's allocator ran out of memory",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("out of memory", "outofmemory"),
        (
            r"cuda runtime error \(2\)|cuda error(?: \d+)?[:(]? ?(?:2\)? ?)?:? ?out of memory|"
            r"torch\.(?:cuda\.)?outofmemoryerror"
        ),
        "a CUDA call failed for lack of memory",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("total capac",),
        r"total capaci?ty(?: of|;)[^\n]{0,80}\n?[^\n]{0,80}(?:free|allocated|allowed)",
        "PyTorch's account of a full card",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("mps backend out of memory", "mps allocated"),
        r"mps backend out of memory|mps allocated:",
        "Apple's GPU backend reached its limit",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("oom when allocating tensor", "_bfc) ran out of memory", "ran out of memory trying"),
        r"oom when allocating tensor with shape(?!.{0,160}(?:cpu:0|mklcpu|by allocator cpu))"
        r"|allocator \(gpu_\d+_bfc\) ran out of memory",
        "TensorFlow's GPU allocator ran out of memory",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("resource_exhausted", "resourceexhausted", "resource exhausted"),
        (
            r"resource_?\s?exhausted\w*:?(?: error)?[^\n]{0,40}(?:out of memory|oom|failed to "
            r"allocate)(?!.{0,160}(?:cpu:0|by allocator cpu))"
        ),
        "the XLA or TensorFlow runtime could not allocate on the device",
    ),
    Message(
        GPU,
        None,
        STRONG,
        ("resource_exhausted", "resource exhausted", "resourceexhaustederror"),
        r"resource_?\s?exhausted(?:error)?",
        "a device allocation was refused",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("out of memory error on gpu", "available memory is only"),
        r"out of memory error on gpu|cannot allocate [\d.]+\s?[kmg]i?b memory on gpu|available memory is only",
        "Paddle could not allocate on the GPU",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("cudamalloc failed", "ggml_cuda", "ggml_gallocr", "failed to allocate cuda"),
        r"cudamalloc failed|failed to allocate cuda\d* buffer|allocating [\d.]+ mib on device \d+",
        "llama.cpp could not allocate on the GPU",
    ),
    Message(
        GPU,
        None,
        STRONG,
        ("requested buffer of size",),
        r"failed to allocate memory for requested buffer of size",
        "ONNX Runtime's arena could not grow",
    ),
    Message(
        GPU,
        None,
        FINAL,
        ("rmm", "cudaerrormemoryallocation", "out_of_memory"),
        r"bad_alloc: (?:out_of_memory|cuda error)|rmm[^\n]{0,120}out_of_memory|cupy\S*out_?of_?memory",
        "the GPU data-frame library ran out of device memory",
    ),
    Message(
        GPU,
        None,
        STRONG,
        ("cl_mem_object_allocation_failure", "cl_out_of_resources", "erroroutofdevicememory"),
        r"cl_mem_object_allocation_failure|cl_out_of_resources|erroroutofdevicememory",
        "an OpenCL or Vulkan device buffer could not be allocated",
    ),
    Message(
        GPU,
        None,
        STRONG,
        ("alloc_failed", "alloc failed"),
        r"(?:cublas|cudnn|cusolver|cusparse|cufft)_(?:status_)?alloc_failed",
        "a GPU library could not allocate its workspace",
    ),
    Message(
        GPU,
        None,
        LIKELY,
        (
            "cudnn_status_internal_error",
            "cudnn_status_not_initialized",
            "could not create cudnn handle",
            "failed to get convolution algorithm",
            "cublas_status_not_initialized",
        ),
        r"could not create cudnn handle|cudnn_status_internal_error|cudnn_status_not_initialized|"
        r"cublas_status_not_initialized"
        r"|failed to get convolution algorithm",
        "a GPU library could not start, most often for lack of memory",
    ),
    Message(
        GPU,
        "kv_cache",
        FINAL,
        ("kv cache", "cache blocks"),
        r"tokens that can be stored in (?:the )?kv cache|no available memory for the cache blocks|kv "
        r"cache (?:memory|is needed)"
        r"|free up kv cache|not enough (?:gpu )?memory for (?:the )?kv cache|available kv cache memory",
        "the key-value cache of the serving engine does not fit",
    ),
    Message(
        GPU,
        "other_process",
        FINAL,
        ("on device", "desired gpu memory utilization"),
        r"free memory on device[^\n]{0,80}less than desired gpu memory utilization",
        "the serving engine found the card partly taken",
    ),
    Message(
        GPU,
        None,
        LIKELY,
        ("out of gpu memory", "gpu out of memory", "gpu memory", "insufficient gpu", "not enough gpu"),
        r"(?:out of|insufficient|not enough|no more|exceeds?(?: the)?) (?:gpu|video|device|graphics) (?:memory|ram)"
        r"|gpu (?:is )?(?:out of memory|oom)\b|gpu memory (?:is )?(?:full|exhausted|exceeded|not enough|"
        r"insufficient)",
        "the text says that GPU memory is exhausted",
    ),
)
