"""A node beside the control plane: containerd, kubelet, kube-proxy, a gateway, S3, in a network namespace of their own."""
