"""What forms probabilities, and what gives out a tensor with the digits that it has."""

FORMING = {
    "torch.sigmoid": "sigmoid",
    "torch.nn.functional.sigmoid": "sigmoid",
    "torch.special.expit": "sigmoid",
    "torch.softmax": "softmax",
    "torch.nn.functional.softmax": "softmax",
}
MADE = {f"torch.{name}" for name in ("FloatTensor", "cuda.FloatTensor", "ones", "full", "rand")}  # fp32
FORMING_LAYERS = {"torch.nn.Sigmoid": "sigmoid", "torch.nn.Softmax": "softmax"}
FORMING_METHODS = {"sigmoid", "softmax"}
# What gives out the dtype it gets, and no new digits.
_SAME_WORDS = (
    "view view_as reshape squeeze unsqueeze flatten unflatten permute transpose t contiguous expand expand_as repeat "
    "clone detach cpu cuda float gather index_select masked_select narrow select clamp clip mean sum prod min max "
    "abs neg requires_grad_ squeeze_ unsqueeze_ clamp_"
)
BOUNDING = {"clamp", "clamp_", "clip", "abs", "neg", "sum"}  # makes probabilities of what was none, perhaps
SAME_METHODS = frozenset(_SAME_WORDS.split())
SAME_FUNCTIONS = {f"torch.{word}" for word in SAME_METHODS} | {"torch.autograd.Variable"}
JOINING = {"torch.cat", "torch.stack", "torch.concat", "torch.hstack", "torch.vstack"}
# What gives out no probabilities: where a script chooses between this and a sigmoid, a loss that takes it raises.
UNBOUNDED = {f"torch.nn.{name}" for name in ("Linear", "Conv1d", "Conv2d", "Conv3d", "Tanh")}
SAME_LAYERS = {"torch.nn.Flatten", "torch.nn.Unflatten", "torch.nn.Identity"}
