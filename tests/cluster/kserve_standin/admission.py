"""What KServe's validating webhook refuses, as an admission policy: the server itself says no, in the webhook's words.

Of `inference_service_validation.go`: what a rollout can run into. The policy answers 422 where the webhook answers 403.
"""

from tests.cluster.api import Api, Json

__all__ = ["install_validation"]

NAME = "kserve-standin-validation"
MODE = "serving.kserve.io/deploymentMode"

_MODE_OF = (
    "(has({0}.metadata.annotations) && '"
    + MODE
    + "' in {0}.metadata.annotations ? {0}.metadata.annotations['"
    + MODE
    + "'] : '')"
)
_URIS_OF = (
    "(has({0}.spec.predictor.containers) ? {0}.spec.predictor.containers.filter(c, c.name == 'kserve-container' && has(c.env))"
    ".map(c, c.env.filter(e, e.name == 'STORAGE_URI').map(e, e.value)) : [])"
)
_HAS_CANARY = "has(object.spec.canary) && size(object.spec.canary) > 0"

VARIABLES = {
    "mode": _MODE_OF.format("object"),
    "oldMode": "oldObject == null ? '' : " + _MODE_OF.format("oldObject"),
    "uris": _URIS_OF.format("object"),
    "oldUris": "oldObject == null ? [] : " + _URIS_OF.format("oldObject"),
    "name": "has(object.spec.predictor.name) ? object.spec.predictor.name : ''",
    "oldName": "oldObject != null && has(oldObject.spec.predictor.name) ? oldObject.spec.predictor.name : ''",
    "canaries": f"{_HAS_CANARY} ? object.spec.canary : []",
    "least": "has(object.spec.predictor.minReplicas) ? object.spec.predictor.minReplicas : 1",
}

RULES = {
    "object.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')": "the InferenceService name is invalid",
    "oldObject == null || variables.oldMode == '' || variables.mode == variables.oldMode": (
        "update rejected: deploymentMode cannot be changed"
    ),
    "!has(object.spec.predictor.containers) || object.spec.predictor.containers.all(c, !has(c.env)"
    " || c.env.all(e, e.name != 'PYTHONPATH'))": "environment variable PYTHONPATH is not allowed",
    "size(variables.canaries) == 0 || variables.mode == 'Standard'": "canary is only supported in Standard mode",
    "size(variables.canaries) == 0 || has(object.spec.predictor.model) || variables.uris.exists(u, size(u) > 0)": (
        "canary requires a stable predictor with a model"
    ),
    "variables.canaries.all(c, has(c.predictor.name) && c.predictor.name != '' && c.predictor.name != variables.name)": (
        "canary predictor name is required and must differ from the stable predictor's"
    ),
    "variables.canaries.all(c, variables.canaries.exists_one(d, has(d.predictor.name) && has(c.predictor.name)"
    " && d.predictor.name == c.predictor.name))": "canary predictor names must be unique",
    "variables.canaries.all(c, !has(c.trafficPercent) || (c.trafficPercent >= 0 && c.trafficPercent <= 100))": (
        "canary trafficPercent must be between 0 and 100"
    ),
    "variables.canaries.map(c, has(c.trafficPercent) ? c.trafficPercent : 0).sum() <= 100": (
        "the sum of canary trafficPercent must not exceed 100"
    ),
    "variables.canaries.all(c, !has(c.predictor.minReplicas) || c.predictor.minReplicas <= variables.least)": (
        "canary minReplicas must not exceed the stable predictor's"
    ),
    "oldObject == null || variables.name == variables.oldName || variables.uris != variables.oldUris": (
        "predictor name can only be changed together with the storage URI"
    ),
}


def install_validation(api: Api) -> None:
    """Have the server refuse what KServe's webhook refuses; see `is_refusing` before relying on it."""
    policy: Json = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["serving.kserve.io"],
                        "apiVersions": ["v1beta1"],
                        "resources": ["inferenceservices"],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ]
            },
            "variables": [{"name": name, "expression": expression} for name, expression in VARIABLES.items()],
            "validations": [{"expression": rule, "message": message} for rule, message in RULES.items()],
        },
    }
    api.apply(policy)
    binding = {"policyName": NAME, "validationActions": ["Deny"]}
    metadata = {"name": NAME}
    kind = "ValidatingAdmissionPolicyBinding"
    api.apply({"apiVersion": policy["apiVersion"], "kind": kind, "metadata": metadata, "spec": binding})
