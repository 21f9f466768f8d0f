"""Messages are taken apart where protobuf puts its fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.protobuf_wire import fields, opening

TENSORS = st.builds(
    pb.TensorProto,
    dims=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    name=st.text(max_size=200),
    raw_data=st.binary(max_size=300),
    ref_key=st.text(max_size=3),
)
ATTRIBUTES = st.builds(
    pb.AttributeProto,
    name=st.text(max_size=3),
    f=st.floats(width=32, allow_nan=False),
    d=st.floats(allow_nan=False),
    tensors=st.lists(TENSORS, max_size=3),
)


@given(ATTRIBUTES)
def test_the_fields_are_those_that_protobuf_reads(message: pb.AttributeProto) -> None:
    data = message.SerializeToString(deterministic=True)
    found = list(fields(data))
    assert [f.start for f in found] == [0, *(f.end for f in found)][: len(found)]
    assert sum(f.end - f.start for f in found) == len(data)
    tensors = pb.AttributeProto.TENSORS_FIELD_NUMBER
    inner = [f for f in found if f.number == tensors]
    read = [pb.TensorProto.FromString(data[f.content : f.end]) for f in inner]
    assert read == list(message.tensors)
    for f in inner:
        assert data[f.start : f.content] == opening(tensors, f.end - f.content)
        assert [i.number for i in fields(memoryview(data), f.content, f.end)] == [
            i.number for i in fields(data[f.content : f.end])
        ]


@given(st.binary(max_size=40))
def test_any_bytes_are_walked_or_refused(data: bytes) -> None:
    try:
        found = list(fields(data))
    except ValueError:
        return
    assert sum(f.end - f.start for f in found) == len(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80", "the message ends within a number"),
        (b"\x0a", "the message ends within a number"),
        (b"\x0a\x05abc", "a field is longer than its message"),
        (b"\x09abc", "a field is longer than its message"),
        (b"\x0b", "wire type 3 is not in use"),
        (b"\x08" + b"\xff" * 10, "a number has more than ten bytes"),
    ],
)
def test_what_is_no_message(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(fields(data))
