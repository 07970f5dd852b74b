"""What a process takes on a real card beside torch's allocator, seen with one small step; not part of the simulation.

Two processes that have not touched CUDA yet: the first watches the card's free memory while the second begins to use
the card. What the second's allocator holds is subtracted. Where other processes moved meanwhile, nothing is said.
"""

import importlib
import multiprocessing
import os

STILL_BYTES = 8 << 20  # by which the free memory may differ before and after


def answer(device):
    """{"least_context_bytes", "context_bytes", "cublas_bytes", "torch_version"}, or {"refused": ...}.

    `device`: what CUDA_VISIBLE_DEVICES is set to, or None to leave it. The least context is that before any kernel of
    a library was loaded.
    """
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    torch = importlib.import_module("torch")
    if not torch.version.cuda:
        return _refused("torch there is built without CUDA", torch.__version__)
    if not hasattr(os, "fork"):
        return _refused("a card can be measured on Linux only", os.name)
    here, there = multiprocessing.Pipe()
    user = multiprocessing.get_context("fork").Process(target=_use, args=(there,), daemon=True)
    user.start()
    there.close()
    try:
        return _watched(torch, here, user)
    except (EOFError, BrokenPipeError, RuntimeError) as error:
        return _refused("the card could not be used", f"{type(error).__name__}: {error}".splitlines()[0])


def _watched(torch, pipe, user):
    def free():
        return torch.cuda.mem_get_info()[0]

    def after_the_next_part():
        pipe.send(None)
        held, cublas = pipe.recv()
        return before - free() - held, cublas

    before = free()
    least, _ = after_the_next_part()
    whole, cublas = after_the_next_part()
    pipe.send(None)
    user.join()
    if abs(before - free()) > STILL_BYTES or not 0 < least <= whole:
        return _refused(
            "other processes used the card meanwhile", f"{before - free()} bytes more than before"
        )
    return {
        "least_context_bytes": least,
        "context_bytes": whole,
        "cublas_bytes": cublas,
        "torch_version": torch.__version__,
    }


def _refused(problem, saw):
    return {"refused": {"problem": problem, "saw": saw, "try_next": "another `python`, or a free card"}}


def _use(pipe):
    """The second process: two parts, each when it is asked for."""
    torch = importlib.import_module("torch")
    pipe.recv()
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    pipe.send((torch.cuda.memory_reserved(), None))
    pipe.recv()
    cublas = _workspace_of_cublas(torch)
    _small_step(torch)
    torch.cuda.synchronize()
    pipe.send((torch.cuda.memory_reserved(), cublas))
    pipe.recv()


def _workspace_of_cublas(torch):
    """What the allocator holds after a first matrix product, beside the product's own tensors."""
    factor = torch.ones(512, 512, device="cuda")
    product = torch.empty_like(factor)
    before = torch.cuda.memory_allocated()
    torch.mm(factor, factor, out=product)
    return torch.cuda.memory_allocated() - before


def _small_step(torch):
    """A training step that loads what most steps load: products, a convolution, norms, a loss, an optimizer."""
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 32 * 32, 64),
        nn.LayerNorm(64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 10),
    ).to("cuda")  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(8, 3, 32, 32, device="cuda"), torch.zeros(8, dtype=torch.long, device="cuda")
    for half in (False, True):
        with torch.autocast("cuda", torch.float16, enabled=half):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
