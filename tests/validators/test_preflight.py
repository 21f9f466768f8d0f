"""Every rule of every generation strikes where it should, and only there."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.validators.preflight_models import CONV, TRIPS, Node, branching, floats

from ascend_migrate.pipeline.cann.generations import Generation, load_generation, versions
from ascend_migrate.pipeline.errors import SourceError, SpecError
from ascend_migrate.pipeline.rule import Certainty, Effect
from ascend_migrate.validators.preflight.preflight import examine, preflight

NEWEST, MEASURED = load_generation("9.1"), load_generation("8.1")

# Rules that hold for some chips only, and one of them; the others are asked of the A2.
_FLOAT16 = ("convtranspose", "matmul", "layernormalization", "lstm", "gru")
FAMILIES = {
    **{f"{op_type}-float16": "Ascend310P" for op_type in _FLOAT16},
    "fp32-baseline": "Ascend310P",
    "fp32-baseline-gemm": "Ascend310P",
    "conv3d-float16": "Ascend310P",
    "nms-float16": "Ascend910",
    "bfloat16": "Ascend310P",
    "dynamic-shape-310": "Ascend310",
}

# Rules that a graph of one node cannot trip; each has a test of its own below.
OF_GRAPHS = {
    "duplicate-name",
    "no-output",
    "external-key",
    "nested-external",
    "tensor-type",
    "two-versions",
    "om-size",
    "dynamic-shape-310",
}


def struck(
    model: onnx.ModelProto, family: str = "Ascend910B", generation: Generation = MEASURED
) -> set[str]:
    return {item.rule for item in examine(model, generation, family)}


def test_every_rule_has_a_graph_that_trips_it() -> None:
    rules = {rule.id for rule in (*MEASURED.rules, *MEASURED.graph_rules)}
    assert rules == set(TRIPS) | OF_GRAPHS
    assert set(TRIPS) & OF_GRAPHS == set()


@pytest.mark.parametrize("rule", TRIPS)
def test_a_rule_strikes_its_graph_and_not_the_twin(rule: str) -> None:
    family = FAMILIES.get(rule, "Ascend910B")
    trips, twin = TRIPS[rule]
    assert rule in struck(trips.model(), family)
    assert rule not in struck(twin.model(), family)


@pytest.mark.parametrize("rule", FAMILIES)
def test_a_rule_of_some_chips_is_silent_on_the_others(rule: str) -> None:
    trips = TRIPS.get(rule, TRIPS["dynamic-shape"])[0]
    assert rule in struck(trips.model(), FAMILIES[rule])
    assert rule not in struck(trips.model(), "Ascend910B")


def test_a_finding_names_the_node_the_reason_and_where_it_was_read() -> None:
    found = examine(TRIPS["mod-fmod"][0].model(), MEASURED, "Ascend910B")
    item = next(item for item in found if item.rule == "mod-fmod")
    assert (item.place, item.op_type, item.effect) == ("the_node", "Mod", "changes numbers")
    assert "fmod=1" in item.says
    assert item.certainty == "source"
    assert "hicann/ops-" in item.source


def test_the_worst_comes_first() -> None:
    found = examine(TRIPS["gru-layout"][0].model(), MEASURED, "Ascend310P")
    order = list(Effect)
    places = [order.index(Effect(item.effect)) for item in found]
    assert places == sorted(places)
    assert len(set(places)) > 1


@pytest.mark.parametrize("version", versions())
def test_every_rule_says_what_happens_what_to_do_and_how_it_is_known(version: str) -> None:
    generation = load_generation(version)
    rules = (*generation.rules, *generation.graph_rules)
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.says
        assert rule.remedy
        assert rule.source
        assert isinstance(rule.certainty, Certainty)
        assert set(rule.families) <= set(generation.chips.values())
        for op_type in rule.operators:
            assert onnx.defs.has(op_type)


def test_the_newest_registry_has_all_the_operators_that_were_counted() -> None:
    assert len(NEWEST.operators) == 161
    assert sum(17 in operator.opsets for operator in NEWEST.operators.values()) == 152


@pytest.mark.parametrize("op_type", NEWEST.operators)
def test_a_registered_operator_is_registered_at_exactly_its_opsets(op_type: str) -> None:
    opsets = NEWEST.operators[op_type].opsets
    for opset in range(7, 24):
        model = helper.make_model(
            helper.make_graph(
                [helper.make_node(op_type, ["x"], ["y"], "the_node")],
                "g",
                [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
                [helper.make_empty_tensor_value_info("y")],
            ),
            opset_imports=[helper.make_opsetid("", opset)],
        )
        found = "unregistered" in struck(model, generation=NEWEST)
        assert found == (opset not in opsets), opset


def test_an_older_generation_lacks_what_its_list_lacks() -> None:
    model = Node("LayerNormalization", [floats(2, 3), floats(3)]).model()
    assert "unregistered-yet" in struck(model, generation=load_generation("6.0"))
    assert not {"unregistered", "unregistered-yet"} & struck(model)


def test_the_parsers_own_operators_are_known() -> None:
    assert "custom-domain" not in struck(Node("NPUAntiQuant", [floats(3)], domain="npu").model())
    assert "unregistered" not in struck(Node("AscendQuant", [floats(3)]).model())


def test_the_name_of_a_node_must_be_its_own() -> None:
    model = CONV.model()
    model.graph.node[0].name = "x1"
    assert "duplicate-name" in struck(model)
    assert "duplicate-name" not in struck(CONV.model())


def test_a_graph_without_outputs() -> None:
    model = CONV.model()
    del model.graph.output[:]
    assert "no-output" in struck(model)


def test_external_data_has_three_keys() -> None:
    model = CONV.fed(1, np.zeros((4, 3, 3, 3), np.float32)).model()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "w", 0, 432)
    model.graph.initializer[0].ClearField("raw_data")
    assert "external-key" not in struck(model)
    model.graph.initializer[0].external_data.add(key="checksum", value="0")
    assert "external-key" in struck(model)


def test_external_data_of_a_branch() -> None:
    assert "nested-external" in struck(branching())


def test_an_element_type_that_the_parser_does_not_know() -> None:
    model = CONV.model()
    tensor = model.graph.initializer.add(name="w", dims=[2], data_type=17)
    tensor.raw_data = b"\0\0"
    assert onnx.TensorProto.DataType.Name(17) == "FLOAT8E4M3FN"
    assert "tensor-type" not in struck(model)
    tensor.data_type = onnx.TensorProto.FLOAT8E4M3FNUZ
    assert "tensor-type" in struck(model)


def test_a_domain_has_one_version() -> None:
    model = CONV.model()
    model.opset_import.add(domain="ai.onnx", version=17)
    assert "two-versions" in struck(model)


def test_an_om_file_holds_four_gigabytes() -> None:
    model = CONV.model()
    weight = model.graph.initializer.add(name="w", dims=[1 << 20, 1 << 10], data_type=1)
    assert "om-size" in struck(model)
    weight.dims[1] = 1 << 9
    assert "om-size" not in struck(model)


def test_the_first_training_chip_is_not_the_a2() -> None:
    with pytest.raises(SpecError, match="Ascend910B3"):
        MEASURED.family("Ascend910B")
    with pytest.raises(SpecError, match="is not known"):
        MEASURED.family("Ascend999")
    assert MEASURED.family("Ascend910_9391") == "Ascend910_93"
    assert MEASURED.family("Ascend910B3") == "Ascend910B"


@pytest.mark.parametrize(
    ("version", "found"),
    [("6.0", "5.0"), ("8.1.RC1", "8.0"), ("8.5.0", "8.0"), ("9.0.0", "9.0"), ("10.1", "9.0")],
)
def test_a_version_is_read_by_its_generation_or_the_one_before(version: str, found: str) -> None:
    assert load_generation(version).name == found


@pytest.mark.parametrize("version", ["", "new", "4.9"])
def test_a_version_that_nothing_is_known_of(version: str) -> None:
    with pytest.raises(SpecError):
        load_generation(version)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff" * 10)
    with pytest.raises(SourceError, match="not an ONNX"):
        preflight(tmp_path / "m.onnx", MEASURED, "Ascend910B3")
