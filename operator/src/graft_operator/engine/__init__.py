"""The Kubernetes shell's engine: which object gets its pass when, and what a pass is."""
