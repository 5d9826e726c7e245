"""The worker: hears the bell, runs exports, sends mails, sweeps."""
