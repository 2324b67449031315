"""HTTP: OpenAI's shapes, KServe's V1 and V2, readiness. Translates; decides nothing."""
