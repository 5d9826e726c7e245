"""The worker: consumes the queue, runs exports, sends mail, runs periodic tasks."""
