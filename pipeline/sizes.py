"""Numbers of bytes as people write them."""

import re

_UNITS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """Returns the bytes that ``"5GB"`` (decimal), ``"5GiB"`` (binary) or ``"500"`` stand for.

    Raises:
        ValueError: it stands for none, or for less than one.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(?:([KMGT])(i?))?B?", text.strip(), re.I)
    if found is None:
        raise ValueError(f"{text!r} is no size; write one such as 5GB, 500MB or 2GiB")
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** _UNITS[(unit or "B").upper()])
    if size < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return size
