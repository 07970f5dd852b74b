"""Dated facts with a source each."""
