"""The reconcilers of Graft and the local shell that runs them on one machine."""
