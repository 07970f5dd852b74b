"""The caching allocator of torch on one stream, replayed over the births and deaths of blocks.

Sizes and rules are those of c10/cuda/CUDACachingAllocator.cpp (torch 2.6 to 2.13). Left out: several streams,
max_split_size, the garbage-collection threshold, power-of-two rounding.
"""

from bisect import bisect_left, insort

MIB = 1 << 20
ROUND = 512  # kMinBlockSize
SMALL_LIMIT = MIB  # kSmallSize: requests up to this come from the small pool
SMALL_SEGMENT = 2 * MIB  # kSmallBuffer
LARGE_SEGMENT = 20 * MIB  # kLargeBuffer
OWN_SEGMENT_FROM = 10 * MIB  # kMinLargeAlloc: larger requests get a segment of their own size
SEGMENT_ROUND = 2 * MIB  # kRoundLarge


class OutOfMemory(Exception):
    """The replay needs a new segment that the capacity does not hold."""


class Block:
    __slots__ = ("address", "after", "before", "free", "segment", "size")

    def __init__(self, segment, address, size):
        self.segment, self.address, self.size = segment, address, size
        self.before = self.after = None
        self.free = True


def round_size(size):
    """What the allocator hands out for a request of `size` bytes, before splitting decides otherwise."""
    return max(ROUND, -(-size // ROUND) * ROUND)


class Allocator:
    """Allocated = blocks in use, reserved = segments; both with their peaks. Every byte count is exact."""

    def __init__(self, capacity=None, expandable=False):
        self.capacity, self.expandable = capacity, expandable
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self.retries = 0
        self._pools = {True: [], False: []}  # small? -> sorted (size, address, serial, block)
        self._segments = {}  # segment -> (size, small)
        self._next_address = 0
        self._serial = 0
        self._tails = {True: None, False: None}  # expandable: the last block of the pool's one segment

    def malloc(self, request):
        """A block of at least `request` bytes; raises OutOfMemory."""
        size = round_size(request)
        small = size <= SMALL_LIMIT
        block = self._take_free(size, small) or self._new_segment(size, small)
        self._split(block, size, small)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block):
        """Give a block back; free neighbours of its segment are merged with it."""
        self.allocated -= block.size
        block.free = True
        small = self._segments[block.segment][1]
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                self._remove(neighbour, small)
                block = self._merge(
                    *((neighbour, block) if neighbour is block.before else (block, neighbour))
                )
        self._insert(block, small)

    def _take_free(self, size, small):
        pool = self._pools[small]
        at = bisect_left(pool, (size,))
        return pool.pop(at)[3] if at < len(pool) else None

    def _new_segment(self, size, small):
        if self.expandable:
            return self._grow(size, small)
        if small:
            length = SMALL_SEGMENT
        elif size < OWN_SEGMENT_FROM:
            length = LARGE_SEGMENT
        else:
            length = -(-size // SEGMENT_ROUND) * SEGMENT_ROUND
        self._reserve(length)
        block = Block(self._next_address, self._next_address, length)
        self._segments[block.segment] = (length, small)
        self._next_address += length
        return block

    def _grow(self, size, small):
        """Expandable segments: one address range per pool, mapped page by page at its end."""
        page = SMALL_SEGMENT if small else LARGE_SEGMENT
        tail = self._tails[small]
        tail = tail if tail is not None and tail.free else None
        missing = -(-(size - (tail.size if tail else 0)) // page) * page
        self._reserve(missing)
        last = self._tails[small]
        if tail is not None:
            self._remove(tail, small)
            tail.size += missing
            block = tail
        else:
            segment = last.segment if last else (1 << 50) * (1 + small)
            block = Block(segment, last.address + last.size if last else segment, missing)
            block.before = last
            if last:
                last.after = block
        self._segments[block.segment] = (0, small)
        self._tails[small] = block
        return block

    def _reserve(self, length):
        if self.capacity is not None and self.reserved + length > self.capacity:
            self._release_free_segments()
            self.retries += 1
            if self.reserved + length > self.capacity:
                raise OutOfMemory(self.reserved + length)
        self.reserved += length
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def _release_free_segments(self):
        for small, pool in self._pools.items():
            kept = []
            for entry in pool:
                block = entry[3]
                if self.expandable:
                    self._unmap(block, small, kept, entry)
                elif block.before is None and block.after is None:
                    self.reserved -= block.size
                    del self._segments[block.segment]
                else:
                    kept.append(entry)
            pool[:] = kept

    def _unmap(self, block, small, kept, entry):
        """Expandable segments give back the free end of the range (holes inside stay mapped in this model)."""
        page = SMALL_SEGMENT if small else LARGE_SEGMENT
        if block is not self._tails[small] or block.size < page:
            kept.append(entry)
            return
        self.reserved -= block.size // page * page
        block.size %= page
        if block.size:
            kept.append((block.size, block.address, entry[2], block))
            return
        self._tails[small] = block.before
        if block.before is not None:
            block.before.after = None

    def _split(self, block, size, small):
        rest = block.size - size
        if not (rest >= ROUND if small or self.expandable else rest > SMALL_LIMIT):
            return
        remainder = Block(block.segment, block.address + size, rest)
        remainder.before, remainder.after = block, block.after
        if block.after is not None:
            block.after.before = remainder
        block.after, block.size = remainder, size
        if self._tails[small] is block:
            self._tails[small] = remainder
        self._insert(remainder, small)

    def _merge(self, left, right):
        left.size += right.size
        left.after = right.after
        if right.after is not None:
            right.after.before = left
        for small, tail in self._tails.items():
            if tail is right:
                self._tails[small] = left
        return left

    def _insert(self, block, small):
        self._serial += 1
        insort(self._pools[small], (block.size, block.address, self._serial, block))

    def _remove(self, block, small):
        pool = self._pools[small]
        at = bisect_left(pool, (block.size, block.address))
        del pool[at]


def replay(sizes, events, capacity=None, expandable=False):
    """An Allocator after `events`: `i` allocates block i of sizes[i] bytes, `~i` frees it. Raises OutOfMemory."""
    allocator = Allocator(capacity, expandable)
    blocks = {}
    for event in events:
        if event >= 0:
            blocks[event] = allocator.malloc(sizes[event])
        else:
            allocator.free(blocks.pop(~event))
    return allocator


def survives(sizes, events, capacity, expandable=False):
    """Whether the replay ends within `capacity` bytes of segments."""
    try:
        replay(sizes, events, capacity, expandable)
    except OutOfMemory:
        return False
    return True
