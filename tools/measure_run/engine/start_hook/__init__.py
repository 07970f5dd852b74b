"""A folder for PYTHONPATH: Python imports `sitecustomize` from it at every start of the caller's interpreter."""
