"""3. Execution: one attempt, from the snapshot to the stored file."""
