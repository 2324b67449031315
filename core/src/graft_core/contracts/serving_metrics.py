"""Names of what the predictor counts and the verdict reads. All carry the label `revision`; counters only ever grow while a process lives.

    graft_predictor_requests_total{revision, outcome}                 counter: ok | client_error | error | blocked
    graft_predictor_request_duration_seconds{revision, cache}         histogram: whole answer, by cache = memory | exact | miss | bypass
    graft_predictor_time_to_first_token_seconds{revision}             histogram: streamed answers only
    graft_predictor_feedback_score{revision}                          summary: _sum and _count of the scores in [0, 1]

`revision` is that of the arm that answered; feedback carries it inside the request id (`gr-<revision>-<random>`), since the gateway may
hand the feedback itself to the other arm. error_rate = error / (ok + error + blocked); client errors are nobody's fault here.
"""

from typing import Final

__all__ = [
    "FEEDBACK_SCORE",
    "LATENCY_BUCKETS_S",
    "OUTCOMES",
    "REQUESTS_TOTAL",
    "REQUEST_DURATION_SECONDS",
    "REQUEST_ID_PREFIX",
    "TIME_TO_FIRST_TOKEN_SECONDS",
]

REQUESTS_TOTAL: Final = "graft_predictor_requests_total"
REQUEST_DURATION_SECONDS: Final = "graft_predictor_request_duration_seconds"
TIME_TO_FIRST_TOKEN_SECONDS: Final = "graft_predictor_time_to_first_token_seconds"
FEEDBACK_SCORE: Final = "graft_predictor_feedback_score"
OUTCOMES: Final = ("ok", "client_error", "error", "blocked")
REQUEST_ID_PREFIX: Final = "gr-"
LATENCY_BUCKETS_S: Final = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
    7.5,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
)
"""Upper bounds in seconds; close enough that a p95 read by interpolation is within a third of the true one."""
