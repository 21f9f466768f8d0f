"""One small model for each rule that surgery answers, and for each variant of it."""

from tests.cann.cases_image import pool_cases, resize_cases
from tests.cann.cases_plain import control_cases, integer_cases, plain_cases
from tests.cann.cases_quantised import quantised_cases, spectrum_cases
from tests.cann.cases_recurrent import recurrent_cases

CASES = [
    *recurrent_cases(),
    *resize_cases(),
    *pool_cases(),
    *plain_cases(),
    *integer_cases(),
    *quantised_cases(),
    *spectrum_cases(),
    *control_cases(),
]
