"""Rules for threads: DataParallel autocasts to fp16 in them, whatever stands around the call."""

import ast

from .running import Running


class Replicas(Running):
    def replicas(self) -> None:
        """DataParallel's threads autocast to fp16: bf16 reaches them where a hook of all modules sets it."""
        if not any(self.may_be_bf16(c) for c in self.casts if not self.is_off(c)):
            return
        hooks = {
            n
            for n, defs in self.functions.items()
            if any("set_autocast_dtype(" in ast.unparse(f) for f in defs)
        }
        calls = [n for n in ast.walk(self.tree) if isinstance(n, ast.Call)]
        if any(
            self.name(c.func) == "torch.nn.modules.module.register_module_forward_pre_hook"
            and {a.id for a in c.args if isinstance(a, ast.Name)} & hooks
            and isinstance(self.function(c), ast.Module)
            for c in calls
        ):
            return
        for call in calls:
            name = self.name(call.func)
            last = name.split(".")[-1].lower().replace("_", "")
            if last == "parallelapply" or ("dataparallel" in last and "distributed" not in last):
                self.add(call, "replicas_in_fp16", name)
