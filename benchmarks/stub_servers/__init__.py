"""A store and a mail server that discard everything, so that their own work is not measured."""
