"""What Prometheus reads of a server."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from lvm_lab.serving.models import Models

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Those of one server: two in a process have their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("lvm_lab_requests", "Answered requests", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "lvm_lab_request_seconds", "From head to answer", ("path",), buckets=SECONDS, registry=own
        )
        self.open = Gauge("lvm_lab_open_requests", "Requests that are worked on", registry=own)
        self.batches = Histogram(
            "lvm_lab_batch_contexts", "Contexts of a batch", ("model",), buckets=SIZES, registry=own
        )
        self.waiting = Gauge("lvm_lab_waiting_contexts", "Contexts that wait", ("model",), registry=own)
        self.version = Gauge(
            "lvm_lab_model_info", "Which version is served", ("model", "version", "path"), registry=own
        )

    def text(self, models: Models) -> bytes:
        """All of them in Prometheus's text format, as they are now."""
        self.version.clear()
        for one in models:
            self.waiting.labels(one.facts.name).set(one.batcher.waiting)
            self.version.labels(one.facts.name, one.facts.version, one.facts.path).set(1)
        return generate_latest(self.registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)
