"""Files to series, with every rule stated and every refusal naming file, series, row and fix.

files      a table as it stands in a CSV, Parquet, Feather or npz file; text stays text, so originals stay unchanged
writing    the same formats out again, in one atomic step
numbers    columns to float64: missing marks, decimal commas, what is refused
stamps     time columns to integers that order and space them; the cut between training and later
roles      which column is id, time, target, label, split, covariate
series     the training part of each series: rows in order of time, values, warnings
"""
