"""Telemetry: JSON logs without prompts, Prometheus metrics with closed labels, OpenTelemetry spans and W3C context."""
