"""One remedy a file. Each defines REMEDY and `propose(context) -> Patch`; codemod.py finds them by folder listing."""
