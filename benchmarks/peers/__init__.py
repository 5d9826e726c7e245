"""What a team would write instead, each a process of its own; made of the peers' packages only."""
