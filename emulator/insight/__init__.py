"""What a run folder tells: every tool here reads it through ``load.Run``."""
