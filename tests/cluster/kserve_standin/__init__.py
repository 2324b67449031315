"""A stand-in for KServe's controller: a test double, on a real API server.

It makes for an InferenceService in Standard mode what a real controller was seen to make (tests/golden/kserve), in the two
behaviours that matter to a rollout. Where KServe itself is installed, `GRAFT_KSERVE=external` has it step aside. What it is not:
autoscaling, transformers, explainers, multi-node, Knative.
"""
