"""Shared ground of quantize_model, prune_model and distill_model.

arguments    fields that the three Requests share, and the accuracy budget
sources      what kind of model a file is, read without running it; archives: pickles and zip members, listed not loaded
sizes        what is too large, told before it is read
interpreters which Python exports the model and which one searches
job          one folder of work per model and data, its cache, and the engine's tasks as child processes
profiles     device limits; plan: which variants to try, in which order, and why others are not
search       builds, measures and races the variants; shortlist: which are raced; choose: which of them wins
edge         files for small devices beside the chosen one
report       the nouns of the Reports; text, picture, bundle: Markdown, SVG, and the files that are handed over
engine       what the child processes run
"""
