"""from_torch and to_torch: nodes' names are the modules' own, whatever else is called the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import spikesim as ss  # noqa: E402


class Named(nn.Module):
    """Modules called what nodes without one would be called."""

    def __init__(self) -> None:
        super().__init__()
        self.free = [nn.Linear(4, 4)]
        self.linear = nn.Linear(4, 4)
        self.linear_1 = nn.Linear(4, 4)
        self.add = ss.train.IF(0.5)
        self.matrix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Any) -> Any:
        y = self.free[0](x)
        z = F.linear(y, self.matrix) + F.linear(x, self.matrix)
        return self.add(self.linear_1(self.linear(z)) + y)


def test_a_module_alone_has_its_path_as_a_name():
    model = Named()
    net = ss.from_torch(model, (4,))
    for name in ("linear", "linear_1"):
        op: Any = net.node(name).op
        np.testing.assert_array_equal(op.weight, model.get_submodule(name).weight.detach().numpy())
    assert isinstance(net.node("add").op, ss.Neuron)
    others = {node.name for node in net.nodes} - {name for name, _ in model.named_modules()}
    assert others >= {"linear_2", "linear_3", "add_1", "add_2"}
    # What the model learns goes to the same layers.
    module = ss.to_torch(net)
    state = module.state_dict()
    assert {k for k in model.state_dict() if "weight" in k} <= state.keys()


def test_names_of_modules_that_are_called_later_are_kept_for_them():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.fc_1 = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.fc_1(self.fc(self.fc(x)))

    model = Twice()
    net = ss.from_torch(model, (4,))
    assert [node.name for node in net.nodes] == ["input", "fc", "fc_2", "fc_1"]
    op: Any = net.node("fc_1").op
    np.testing.assert_array_equal(op.weight, model.fc_1.weight.detach().numpy())


@pytest.mark.parametrize("name", ["made", "_plan", "state", "_folded", "network", "made.fc"])
def test_a_node_may_have_the_name_of_an_attribute(name: str):
    net = ss.Network((2,))
    net.add(ss.Linear(np.eye(2)), name)
    net.add(ss.IF(), "if")
    module = copy.deepcopy(ss.to_torch(net))
    x = torch.tensor([[0.5, 1.0]])
    assert module(x, n_steps=4).tolist() == [[2.0, 4.0]]
    assert [node.name for node in ss.from_torch(module, (2,)).nodes] == ["input", name, "if"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_shape": None}, "from_torch: input_shape is None, expected the sizes of one"),
        ({"input_shape": "4"}, "from_torch: input_shape is '4', expected the sizes of one"),
        ({"dt": "x"}, "from_torch: dt is 'x', expected a number of seconds, or None"),
        ({"dt": True}, "from_torch: dt is True, expected a number of seconds, or None"),
    ],
)
def test_options_of_another_kind_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(ss.errors.InputError) as caught:
        ss.from_torch(nn.Linear(4, 2), **{"input_shape": (4,), **given})
    assert str(caught.value).startswith(message), caught.value
    assert ss.from_torch(nn.Linear(4, 2), (4,), dt=np.float32(0.5)).dt == 0.5  # type: ignore[arg-type]


def test_a_rate_that_is_no_number_is_named():
    with pytest.raises(ss.errors.GraphError, match=r"^1: beta is nan, expected a number"):
        ss.from_torch(nn.Sequential(nn.Linear(4, 2), snn.Leaky(float("nan"))), (4,))
    # snnTorch clamps it to 1.
    net = ss.from_torch(nn.Sequential(nn.Linear(4, 2), snn.Leaky(float("inf"))), (4,))
    assert net.node("1").op.alpha_mem == 1  # type: ignore[attr-defined]
