"""Mixed precision: forward and loss under autocast, gradients through one scaler.

    output = model(x)                       with torch.autocast(device_type=device.type, dtype=amp_dtype, ...):
    loss = criterion(output, y)        ->       output = model(x)
    loss.backward()                             loss = criterion(output, y)
    optimizer.step()                        amp_scaler.scale(loss).backward()
                                            amp_scaler.step(optimizer)
                                            amp_scaler.update()

https://docs.pytorch.org/docs/stable/notes/amp_examples.html
"""

from ..context import Context
from ..frameworks import framework_option
from ..patch import Declined, Patch, Site
from ..precision.existing import existing_amp
from ..precision.plan import make_plan
from ..precision.rewrite import rewrite

REMEDY = "mixed_precision"


def propose(context: Context) -> Patch:
    """Autocast and scaler for the training loops; migration where the script has them already."""
    try:
        found = framework_option(context) or existing_amp(context)
        if found is not None:
            return found
        training = context.training
        if not training.backwards or (not training.steps and not _trains_a_model(context)):
            note = "no loss is differentiated in this file"
            return Patch("nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", note)])
        return rewrite(context, make_plan(context), REMEDY)
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _trains_a_model(context: Context) -> bool:
    flow = context.training.flow
    return any(flow.calls_model(s) for region in context.training.regions for s in region.statements)
