"""A job of twenty steps, each of them a sum."""

for step in range(20):
    print(f"step {step} loss {1 / (step + 1):.3f} total {sum(range(10_000))}")
