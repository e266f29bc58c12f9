"""from_torch refuses what it cannot say exactly, by the module's name, with what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import layer, neuron, surrogate  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import spikesim as ss  # noqa: E402


def forward(body: Any, **modules: nn.Module) -> nn.Module:
    """A module with these children whose forward is `body(self, x, …)`."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, module in modules.items():
                self.add_module(name, module)

    Model.forward = body
    return Model()


def named(name: str, module: nn.Module, *before: nn.Module) -> nn.Sequential:
    """A Sequential whose last module has this name."""
    model = nn.Sequential(*before)
    model.add_module(name, module)
    return model


def loop(self: Any, x: Any) -> Any:
    out = []
    for t in range(x.shape[0]):
        spk, _ = self.lif(self.fc(x[t]), None)
        out.append(spk)
    return torch.stack(out)


def fixed_loop(self: Any, x: Any) -> Any:
    mem = self.lif.reset_mem()
    for _ in range(10):
        spk, mem = self.lif(self.fc(x), mem)
    return spk


def branching(self: Any, x: Any) -> Any:
    return self.fc(x) if x else x


MAP = (2, 4, 4)


def hooked(kind: str, module: nn.Module) -> nn.Module:
    """The module with a hook that doubles what goes in or comes out."""

    def double(module: Any, args: Any, out: Any = None) -> Any:
        return (2 * args[0],) if out is None else 2 * out

    getattr(module, f"register_forward_{kind}")(double)
    return module


def pruned() -> nn.Module:
    linear = nn.Linear(4, 2)
    prune.l1_unstructured(linear, "weight", amount=0.5)
    return linear


def overridden(module: nn.Module, method: str = "forward") -> nn.Module:
    setattr(module, method, lambda *args: args[0])
    return module


HOOKED = [
    (named("fc", hooked("hook", nn.Linear(4, 2))), "fc: the forward hook double may *remove the*"),
    (named("fc", hooked("pre_hook", nn.Linear(4, 2))), "fc: the forward pre-hook double *remove*"),
    (named("n", hooked("hook", ss.train.IF())), "n: the forward hook double may change*"),
    (named("n", hooked("pre_hook", neuron.IFNode())), "n: the forward pre-hook double may change*"),
    (
        named("n", hooked("hook", snn.Leaky(0.5, init_hidden=True))),
        "n: the forward hook double may change*",
    ),
    (
        named("part", hooked("hook", nn.Sequential(nn.Linear(4, 2)))),
        "part: the forward hook double may change the output, expected no hook; remove the hook *",
    ),
    (
        named("part", nn.Sequential(hooked("pre_hook", nn.Sequential(nn.Linear(4, 2))))),
        "part.0: the forward pre-hook double may change*",
    ),
    (hooked("hook", nn.Sequential(nn.Linear(4, 2))), "Sequential: the forward hook double may *"),
    (
        named("part", hooked("hook", layer.SeqToANNContainer(nn.Linear(4, 2)))),
        "part: the forward hook double may change*",
    ),
    (
        named("part", layer.SeqToANNContainer(hooked("hook", nn.Linear(4, 2)))),
        "part.0: the forward hook double may change*",
    ),
    (
        named("fc", pruned()),
        "fc: L1Unstructured prunes the weight anew at every call, expected a plain weight; "
        'call torch.nn.utils.prune.remove(module, "weight") first',
    ),
    (
        named("fc", overridden(nn.Linear(4, 2))),
        "fc: forward was set on this Linear itself, expected the method of its class; *",
    ),
    (overridden(nn.Sequential(nn.Linear(4, 2))), "Sequential: forward was set on this Sequential*"),
    (
        named("part", overridden(nn.Sequential(nn.Linear(4, 2)))),
        "part: forward was set on this Sequential itself*",
    ),
    (named("n", overridden(ss.train.IF(), "_step")), "n: _step was set on this IF itself, *"),
    (
        named("n", overridden(snn.Leaky(0.5, init_hidden=True), "fire")),
        "n: fire was set on this Leaky itself, *",
    ),
]


def two(body: Any) -> nn.Module:
    """Two layers with snnTorch's neurons, whose forward is `body`."""
    return forward(body, a=nn.Linear(4, 4), n1=snn.Leaky(0.5), b=nn.Linear(4, 4), n2=snn.Leaky(0.5))


def shared(self: Any, x: Any, mem: Any) -> Any:
    s1, m1 = self.n1(self.a(x), mem)
    s2, m2 = self.n2(self.b(s1), mem)
    return s2, m1, m2


def swapped(self: Any, x: Any, mem1: Any, mem2: Any) -> Any:
    s1, mem1 = self.n1(self.a(x), mem2)
    s2, mem2 = self.n2(self.b(s1), mem1)
    return s2, mem1, mem2


def crossed(self: Any, x: Any, mem1: Any, mem2: Any) -> Any:
    s1, m1 = self.n1(self.a(x), mem2)
    s2, m2 = self.n2(self.b(s1), mem1)
    return s2, m1, m2


def crossed_and_lost(self: Any, x: Any, mem1: Any, mem2: Any) -> Any:
    return self.n2(self.b(self.n1(self.a(x), mem2)[0]), mem1)[0]


def started_crossed(self: Any, x: Any) -> Any:
    mem1, mem2 = self.n1.init_leaky(), self.n2.init_leaky()
    return self.n2(self.b(self.n1(self.a(x), mem2)[0]), mem1)[0]


def started_shared(self: Any, x: Any) -> Any:
    mem = torch.zeros(1, 4)
    return self.n2(self.b(self.n1(self.a(x), mem)[0]), mem)[0]


STATES = [
    (
        shared,
        "n2: its membrane argument is the argument 'mem' of forward that belongs to n1, expected "
        "a state of its own; pass each neuron the membrane that it returned itself",
    ),
    (swapped, "n2: its membrane argument is the state that belongs to n1, *"),
    (crossed, "n2: its membrane argument is the argument 'mem1' of forward that belongs to n1, *"),
    (crossed_and_lost, "n2: its membrane argument is the argument 'mem1' of forward that belon*"),
    (started_crossed, "n1: its membrane argument is the state that belongs to n2, expected *"),
    (started_shared, "n2: its membrane argument is the state that belongs to n1, expected *"),
]
LAYERS = [
    (
        named("conv2", nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")),
        MAP,
        'conv2: padding_mode "reflect" is not supported; use "zeros"',
    ),
    (
        named("bn", nn.BatchNorm2d(2, track_running_stats=False)),
        MAP,
        "bn: track_running_stats=False has no fixed statistics, expected running ones; "
        "train with track_running_stats=True",
    ),
    (
        named("pool", nn.AvgPool2d(2, divisor_override=3)),
        MAP,
        "pool: divisor_override is 3, expected None; scale the weights that follow instead",
    ),
    (named("pool", nn.MaxPool2d(2, dilation=2)), MAP, "pool: dilation of a maximum pool is 2, *"),
    (named("pool", nn.MaxPool2d(2, return_indices=True)), MAP, "pool: return_indices is True, *"),
    (named("up", nn.Upsample(scale_factor=1.5)), MAP, "up: upsampling by 1.5 x 1.5, expected wh*"),
    (
        named("up", nn.Upsample(scale_factor=2, mode="bilinear")),
        MAP,
        'up: mode "bilinear" is not supported; use "nearest"',
    ),
    (named("act", nn.ReLU()), MAP, "act: ReLU is not supported, expected a neuron; it is no *"),
    (named("act", nn.GELU()), MAP, "act: GELU is not supported, expected a neuron; *"),
    (named("fc", nn.LazyLinear(2)), (4,), "fc: LazyLinear has no weights yet, expected them; *"),
    (named("rnn", nn.LSTM(4, 4)), (4,), "rnn: LSTM is not supported, expected one of Linear, *"),
    (named("fc", nn.Linear(4, 2)), MAP, "fc: Linear acts on the last axis of (2, 4, 4), *"),
    (
        named("fc", nn.utils.weight_norm(nn.Linear(4, 2))),
        (4,),
        "fc: WeightNorm sets the weight anew at every call, *call torch.nn.utils.remove_weight*",
    ),
    (named("n", neuron.QIFNode()), (4,), "n: SpikingJelly's QIFNode is not supported, expected *"),
    (
        named("n", neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))),
        (4,),
        "n: surrogate_function has spiking=False, expected spikes; set spiking=True",
    ),
    (
        named("s", layer.SynapseFilter()),
        (4,),
        "s: SpikingJelly's SynapseFilter is not supported, expected one of WSConv2d, *",
    ),
    (
        named("c", layer.SeqToANNContainer(nn.Linear(4, 4), neuron.IFNode())),
        (4,),
        "c.1: IFNode stands in a SeqToANNContainer, which is for layers without state; *",
    ),
    (
        nn.Sequential(neuron.IFNode(step_mode="m"), nn.Linear(4, 4), neuron.IFNode()),
        (4,),
        '2: step_mode is "s" while that of 0 is "m", expected one for all; *',
    ),
    (
        nn.Sequential(neuron.IFNode(), layer.Linear(4, 4, step_mode="m")),
        (4,),
        '1: step_mode is "m" in a single-step module, expected "s"; *',
    ),
    (
        nn.Sequential(neuron.IFNode(step_mode="m"), nn.Flatten()),
        MAP,
        "1: axis 1 is the batch axis, expected one of a sample's",
    ),
    (named("n", snn.SLSTM(4, 4)), (4,), "n: snntorch.SLSTM is not supported, expected one of Lea*"),
    (named("n", snn.Leaky(0.5, inhibition=True)), (4,), "n: inhibition is set, expected a Leaky*"),
    (
        named("n", snn.Leaky(0.5, state_quant=torch.round, init_hidden=True)),
        (4,),
        "n: state_quant is set, expected a Leaky without it; *",
    ),
    (
        named("n", snn.Leaky(torch.rand(3), init_hidden=True)),
        (4,),
        "n: beta has shape (3,), expected one that acts on each sample of shape (4,) alike",
    ),
    (
        named("n", snn.Leaky(0.5, init_hidden=True, reset_delay=False, graded_spikes_factor=0.0)),
        (4,),
        "n: graded_spikes_factor is 0 with reset_delay=False, *",
    ),
    (
        named(
            "pool",
            nn.MaxPool2d(2, padding=1),
            snn.Leaky(0.5, init_hidden=True, graded_spikes_factor=-1.0),
        ),
        MAP,
        "pool: maximum pool pads spikes that may be negative, expected padding=0; *",
    ),
]

FORWARDS = [
    (
        forward(loop, fc=nn.Linear(4, 4), lif=snn.Leaky(0.5)),
        "forward: computes with the size of the batch or time axis, expected code that holds for "
        "any; *name the steps of a loop over time by n_steps",
    ),
    (
        forward(fixed_loop, fc=nn.Linear(4, 4), lif=snn.Leaky(0.5)),
        "Model: forward returns lif of one step of 10, expected every step; record it in every "
        "step and return torch.stack of the list, or its sum or mean over the steps",
    ),
    (
        forward(lambda self, x: self.n(self.n(x)), n=ss.train.IF()),
        "n: IF is called 2 times in one forward, the last time on another input, expected one "
        "call for each step; give each call a module of its own",
    ),
    (
        forward(branching, fc=nn.Linear(4, 4)),
        "Model: forward's control flow depends on data, expected the same calls for any; *",
    ),
    (
        nn.Sequential(nn.Linear(4, 4), forward(branching, fc=nn.Linear(4, 4))),
        "1: forward's control flow depends on data, *",
    ),
    (forward(lambda self, x: F.relu(self.fc(x)), fc=nn.Linear(4, 4)), "relu: relu() is not *"),
    (
        forward(lambda self, x: self.fc(x) * self.fc(x), fc=nn.Linear(4, 4)),
        "mul: multiplies two values, expected a value and a constant; *",
    ),
    (
        forward(lambda self, x: 1 / self.fc(x), fc=nn.Linear(4, 4)),
        "truediv: divides a constant by a value, expected a value by a constant",
    ),
    (
        forward(lambda self, x: x + self.fc(x), fc=nn.Linear(4, 1)),
        "add: adds shapes (4,) and (1,), expected equal ones; broadcasting is supported *",
    ),
    (
        forward(lambda self, x: torch.cat([x, self.fc(x)]), fc=nn.Linear(4, 4)),
        "cat: axis 0 is the batch axis, expected one of a sample's",
    ),
    (
        forward(lambda self, x: self.fc(x).view(-1, 2), fc=nn.Linear(4, 4)),
        "view: reshapes (4,) to (2,), expected as many numbers in a sample",
    ),
    (
        forward(lambda self, x: F.bilinear(x, x, self.fc.weight), fc=nn.Linear(4, 4)),
        "bilinear: bilinear() is not supported, expected a layer; *",
    ),
    (
        forward(lambda self, x: F.dropout(self.fc(x)), fc=nn.Linear(4, 4)),
        "dropout: dropout() is always on, expected it off in eval mode; *",
    ),
    (
        forward(lambda self, x: self.fc(x)[:, :2], fc=nn.Linear(4, 4)),
        "getitem: indexes the output of a layer, expected it whole; *",
    ),
    (
        forward(lambda self, x, m: self.n(x, m[0])[0], n=snn.Leaky(0.5)),
        "getitem: indexes the argument 'm' of forward, expected one argument for each state",
    ),
    (
        forward(lambda self, x: torch.tanh(self.n(x)[1]), n=snn.Leaky(0.5)),
        "tanh: tanh() uses the membrane of n, expected its spikes alone; *",
    ),
    (
        forward(lambda self, x: self.n(x)[1], n=snn.Leaky(0.5)),
        'Model: forward returns no output of a layer, *name a membrane readout by readout="las*',
    ),
    (
        forward(lambda self, x: (self.a(x), self.b(x)), a=nn.Linear(4, 4), b=nn.Linear(4, 4)),
        "Model: forward returns a, b, expected the output of one layer *",
    ),
    (forward(lambda self, x: x), "Model: forward returns its input, expected at least one layer"),
    (
        forward(lambda self, x, y: self.fc(x + y), fc=nn.Linear(4, 4)),
        "add: *uses the argument 'y' of forward, expected one input; *",
    ),
    (
        forward(lambda self, x, m: self.n(x, m * 0.5)[0], n=snn.Leaky(0.5)),
        "mul: mul() uses the argument 'm' of forward, *",
    ),
    (
        forward(lambda self, x: self.n(x, torch.ones(1, 4))[0], n=snn.Leaky(0.5)),
        "n: its membrane argument is computed in forward, expected the state of the step *",
    ),
]


def without_line(text: str) -> str:
    """The message without the line of forward at its end."""
    return re.sub(r" \(\w+\.py:\d+: .*\)$", "", text)


def refused(model: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ss.errors.UnsupportedError) as caught:
        ss.from_torch(model, shape)
    assert "\n" not in str(caught.value)
    text = without_line(str(caught.value))
    start, *rest = message.split("*")
    assert text.startswith(start), text
    position = len(start)
    for part in rest:
        position = text.index(part, position) + len(part)
    assert not message or message.endswith("*") or position == len(text), text


@pytest.mark.parametrize(("model", "shape", "message"), LAYERS, ids=lambda item: None)
def test_a_layer_or_option(model: nn.Module, shape: tuple[int, ...], message: str):
    refused(model, shape, message)


@pytest.mark.parametrize(("model", "message"), FORWARDS, ids=lambda item: None)
def test_a_forward(model: nn.Module, message: str):
    refused(model, (4,), message)


@pytest.mark.parametrize(("model", "message"), HOOKED, ids=lambda item: None)
def test_a_hook_or_a_method_of_one_module(model: nn.Module, message: str):
    refused(model, (4,), message)


@pytest.mark.parametrize(("body", "message"), STATES, ids=lambda item: None)
def test_a_state_that_belongs_to_another_neuron(body: Any, message: str):
    refused(two(body), (4,), message)


def test_a_hook_on_a_compiled_module():
    model = torch.compile(nn.Sequential(nn.Linear(4, 2)))
    refused(hooked("hook", model), (4,), "Sequential: the forward hook double may change*")


def test_classes_that_change_a_step_or_a_container():
    class Fires(snn.Leaky):
        def fire(self, mem: Any) -> Any:
            return 2 * super().fire(mem)

    class Doubles(layer.MultiStepContainer):
        def forward(self, x: Any) -> Any:
            return 2 * super().forward(x)

    class Steps(neuron.IFNode):
        def single_step_forward(self, x: Any) -> Any:
            return super().single_step_forward(2 * x)

    refused(named("n", Fires(0.5, init_hidden=True)), (4,), "n: snntorch.Fires is not supported*")
    refused(named("c", Doubles(nn.Linear(4, 4))), (4,), "c: SpikingJelly's Doubles is not *")
    refused(named("n", Steps()), (4,), "n: SpikingJelly's Steps is not supported*")


def test_an_own_neuron_that_changes_the_step():
    class Other(ss.train.IF):
        def _step(self, x: Any) -> Any:
            return super()._step(2 * x)

    refused(named("n", Other()), (4,), "n: Other changes the step of spikesim.train, expected IF*")


def test_a_leaky_whose_reset_was_changed_after_it_was_made():
    lif = snn.Leaky(0.5, init_hidden=True)
    lif.reset_mechanism = "zero"
    refused(named("n", lif), (4,), "n: reset_mechanism is 'zero' but the module was made with *")


def test_what_is_no_module():
    with pytest.raises(ss.errors.InputError, match="from_torch: module is a int, expected"):
        ss.from_torch(3, (4,))  # type: ignore[arg-type]


def test_shapes_and_parameters_that_no_network_has():
    with pytest.raises(ss.errors.ShapeError, match="0"):
        ss.from_torch(nn.Sequential(nn.Linear(5, 2)), (4,))
    with pytest.raises(ss.errors.GraphError, match="v_threshold"):
        ss.from_torch(nn.Sequential(snn.Leaky(0.5, threshold=-1.0, init_hidden=True)), (4,))
    broken = nn.Linear(4, 2)
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(ss.errors.GraphError, match="0: weight"):
        ss.from_torch(nn.Sequential(broken), (4,))
