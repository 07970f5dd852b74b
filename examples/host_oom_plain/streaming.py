"""Learns from machine readings whether a machine fails soon, with Python's standard library alone.

It reads one row at a time: train.py with the remedy `stream_data`, and the same result.
"""

import math
import random

READINGS, FEATURES, EPOCHS, RATE = 150_000, 8, 2, 0.02


def readings():
    """What would come from a file: eight values, and whether the machine failed within the hour."""
    dice = random.Random(0).random
    for _ in range(READINGS):
        values = [dice() - 0.5 for _ in range(FEATURES)]
        yield values, float(values[0] - values[1] / 2 + (dice() - 0.5) / 4 > 0)


def probability(weights, values):
    return 1 / (1 + math.exp(-sum(map(float.__mul__, weights, values))))


def main():
    weights = [0.0] * FEATURES
    for epoch in range(EPOCHS):
        right = 0
        for values, failed in readings():
            guess = probability(weights, values)
            right += (guess > 0.5) == (failed > 0.5)
            weights = [w - RATE * (guess - failed) * v for w, v in zip(weights, values, strict=True)]
        print(f"epoch {epoch} accuracy {right / READINGS:.4f}")


if __name__ == "__main__":
    main()
