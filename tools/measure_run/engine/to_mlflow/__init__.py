"""Hands runs of the ledger to MLflow, under the caller's interpreter."""
