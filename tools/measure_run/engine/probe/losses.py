"""Backward passes: the loss they start from, and graphs that stay alive."""

import functools
import gc
import threading
import weakref

from .guard import harmless

MARKED = 4  # one graph in so many is marked


class Mark:
    """A hook on an autograd node that does nothing; it lives exactly as long as the graph does."""

    def __call__(self, grad_inputs, grad_outputs):
        return None


class Losses:
    """The part of Hooks that sees backward passes."""

    def around_scale(self, scale):
        @functools.wraps(scale)
        def noted(scaler, outputs):
            scaled = scale(scaler, outputs)
            if isinstance(outputs, self.torch.Tensor):
                self.unscaled = (weakref.ref(scaled), outputs.detach())
            return scaled

        return noted

    def around_backward(self, backward):
        @functools.wraps(backward)
        def noted(tensors, *args, **kwargs):
            if isinstance(tensors, self.torch.Tensor) and threading.get_ident() == self.thread:
                self.note_loss(tensors)
            result = backward(tensors, *args, **kwargs)
            self.after_backward()
            return result

        return noted

    @harmless
    def note_loss(self, loss):
        self.note_gap()
        if loss.numel() != 1:
            return
        if loss.grad_fn is not None and self.all_backwards % MARKED == 0:
            mark = Mark()
            loss.grad_fn.register_hook(mark)
            self.marks.add(mark)
        value = loss.detach()
        if self.unscaled and self.unscaled[0]() is loss:
            value = self.unscaled[1]
        self.unscaled = None
        self.sums.loss = value if self.sums.loss is None else self.sums.loss + value

    @harmless
    def after_backward(self):
        """Count the pass; as long as no optimizer has stepped it may be the step itself (updates by hand)."""
        self.sums.backwards += 1
        self.all_backwards += 1
        if self.optimizers:
            return
        self.close_lap(-1)
        if self.all_backwards == self.max_steps and not self.has_optimizer():
            self.stop("steps")

    def has_optimizer(self):
        """Whether optimizer steps are still to come."""
        return any(isinstance(one, self.torch.optim.Optimizer) for one in gc.get_objects())
