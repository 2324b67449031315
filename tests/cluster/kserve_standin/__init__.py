"""A stand-in for KServe's controller: a test double, on a real API server.

It makes for an InferenceService in Standard mode what a real controller was seen to make (tests/golden/kserve), in the two
behaviours that matter to a rollout. `GRAFT_KSERVE` says who plays it on the node: this, KServe built from its module, or one that is installed. What it is not:
autoscaling, transformers, explainers, multi-node, Knative.
"""
