"""The engine of the compression tools, run by path in a child process: Python 3.9 syntax, nothing of ours installed.

tasks        one task per request: export, prepare, build, measure, race, score, edge, train
rows         the caller's arrays, split into calibration, search and confirmation rows
agree        whether an exported file gives what the model gives; trees, histogram: boosted trees in, ONNX out
graph        what an ONNX file holds, and why it is refused; variants: the ways to make it faster
runners      one way to call every artifact; clock: interleaved latency; judge: metric, drift, bootstrap
stress       rows as they will be once a series has moved on; sensitivity: the layers int8 hurts most
edge         formats for small devices, loaded and run once
train        fine-tuning; prune and students: the smaller networks that it trains
"""
