"""HTTP: Label Studio's contract for an ML backend, health and metrics. Parses, authenticates, calls the backend."""
