"""The operator on a cluster: kopf brings events, and everything else is Graft's own (`kopf run -m graft_operator.handlers`).

Importing this registers the handlers. kopf stores nothing on objects: there are only `on.event` handlers, so it needs neither
annotations nor finalizers, and it does not choose the leader.
"""

from graft_operator.handlers import children, startup

__all__ = ["children", "startup"]
