"""Reading tensors back: `.item()` and its like, and whose code does it."""

import functools
import sys
import threading
import time


class Reading:
    """The part of Hooks that sees values leave a tensor."""

    def around_sync(self, read):
        stepping, is_traced, known = self.stepping, self.is_traced, self.is_user_code

        @functools.wraps(read)
        def timed(tensor):
            if stepping[0] or is_traced():
                return read(tensor)
            code = sys._getframe(1).f_code
            own = known.get(code)
            if own is None:
                own = self.is_user(code)
            if (not own and tensor.is_cpu) or self.inside or threading.get_ident() != self.thread:
                return read(tensor)
            start = time.perf_counter()
            value = read(tensor)
            self.note_sync(time.perf_counter() - start, own, sys._getframe(1))
            return value

        return timed

    def note_sync(self, seconds, own, frame):
        sums = self.sums
        sums.sync += seconds
        sums.syncs += 1
        if own:
            sums.user_syncs += 1
            site = (frame.f_code, frame.f_lineno)
            self.sites[site] = self.sites.get(site, 0) + 1

    def is_user(self, code):
        """Whether a function is the program's own, not a library's."""
        path = code.co_filename
        own = "site-packages" not in path and not path.startswith((self.home, "<frozen"))
        self.is_user_code[code] = own
        return own
