"""The framework probe; runs under the caller's interpreter, Python 3.9 syntax, standard library only."""
