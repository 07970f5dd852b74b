"""The allocator's replay: laws for any sequence, and the rules of torch's source as worked examples."""

from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools.estimate_memory.engine.allocator import MIB, replay, round_size, survives

SIZES = st.lists(st.integers(1, 40 * MIB), min_size=1, max_size=60)


def events_of(draw: st.DataObject, count: int) -> list[int]:
    """Births in order, each block's death at a drawn later place or never."""
    events: list[int] = []
    alive: list[int] = []
    for block in range(count):
        events.append(block)
        alive.append(block)
        while alive and draw.draw(st.booleans()):
            events.append(~alive.pop(draw.draw(st.integers(0, len(alive) - 1))))
    return events


@given(SIZES, st.data(), st.booleans())
def test_allocated_stays_between_what_was_asked_and_what_is_reserved(
    sizes: list[int], draw: st.DataObject, expandable: bool
) -> None:
    events = events_of(draw, len(sizes))
    found = replay(sizes, events, expandable=expandable)
    now = asked = 0
    for event in events:
        now += round_size(sizes[event]) if event >= 0 else -round_size(sizes[~event])
        asked = max(asked, now)
    assert asked <= found.peak_allocated <= found.peak_reserved
    assert found.peak_allocated <= asked + len(sizes) * MIB


@given(SIZES, st.data(), st.booleans())
def test_all_freed_leaves_nothing_allocated(sizes: list[int], draw: st.DataObject, expandable: bool) -> None:
    events = events_of(draw, len(sizes))
    gone = {~event for event in events if event < 0}
    events += [~block for block in range(len(sizes)) if block not in gone]
    assert replay(sizes, events, expandable=expandable).allocated == 0


@given(SIZES, st.data())
def test_what_was_reserved_without_a_limit_survives_under_it(sizes: list[int], draw: st.DataObject) -> None:
    events = events_of(draw, len(sizes))
    free = replay(sizes, events)
    assert survives(sizes, events, free.peak_reserved)
    assert (
        not survives(sizes, events, max(0, free.peak_allocated - 41 * MIB)) or free.peak_allocated <= 82 * MIB
    )


def test_segments_have_the_sizes_of_the_source() -> None:
    assert replay([1], [0]).peak_reserved == 2 * MIB
    assert replay([2 * MIB], [0]).peak_reserved == 20 * MIB
    assert replay([11 * MIB + 1], [0]).peak_reserved == 12 * MIB
    assert replay([1], [0]).peak_allocated == 512


def test_a_remainder_up_to_a_mebibyte_is_not_split_off_in_the_large_pool() -> None:
    assert replay([11 * MIB + 1], [0]).peak_allocated == 12 * MIB


def test_free_segments_are_given_back_before_running_out_of_memory() -> None:
    sizes, events = [30 * MIB, 40 * MIB], [0, ~0, 1]
    assert replay(sizes, events).peak_reserved == 70 * MIB
    assert survives(sizes, events, 40 * MIB)
    assert not survives(sizes, events, 39 * MIB)


def test_expandable_segments_reuse_what_fragments_otherwise() -> None:
    sizes, events = [30 * MIB, 40 * MIB], [0, ~0, 1]
    assert replay(sizes, events, expandable=True).peak_reserved == 40 * MIB
